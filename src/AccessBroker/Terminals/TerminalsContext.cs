using Microsoft.EntityFrameworkCore;

namespace AccessBroker.Terminals;

/// <summary>A terminal of the register.</summary>
internal sealed class TerminalRow
{
    public required string Id { get; init; }
    public required string Name { get; set; }
    public required string ResponsiblePerson { get; set; }
    public required string Place { get; set; }
    public required string System { get; set; }
    public required string Address { get; set; }
    public required string State { get; set; }
    public string Segment { get; set; } = "";
    /// <summary>wired or wifi. <clause>MIC 6.1(13)解</clause></summary>
    public string Link { get; set; } = "wired";
    public bool Mobile { get; set; }
    public string Mac { get; set; } = "";
    public string Fingerprint { get; set; } = "";
    public string Reported { get; set; } = "";
    public long? ClockOffset { get; set; }
    public DateTimeOffset ChangedAt { get; set; }
}

/// <summary>One person may sit at one terminal for a time, approved by the person responsible for it. <clause>MOJ 第5-4(1)</clause></summary>
internal sealed class GrantRow
{
    public required string Terminal { get; init; }
    public required string Person { get; init; }
    public required string ApprovedBy { get; init; }
    public required string Reason { get; init; }
    public required DateTimeOffset ValidFrom { get; init; }
    public DateTimeOffset? ValidUntil { get; set; }
}

internal sealed class TerminalsContext(DbContextOptions<TerminalsContext> options) : DbContext(options)
{
    public DbSet<TerminalRow> Terminals => Set<TerminalRow>();
    public DbSet<GrantRow> Grants => Set<GrantRow>();

    protected override void OnModelCreating(ModelBuilder modelBuilder)
    {
        modelBuilder.HasDefaultSchema("terminals");
        modelBuilder.Entity<TerminalRow>(terminal =>
        {
            terminal.ToTable("terminals").HasKey(t => t.Id);
            terminal.Property(t => t.Id).HasColumnName("id");
            terminal.Property(t => t.Name).HasColumnName("name");
            terminal.Property(t => t.ResponsiblePerson).HasColumnName("responsible_person");
            terminal.Property(t => t.Place).HasColumnName("place");
            terminal.Property(t => t.System).HasColumnName("system");
            terminal.Property(t => t.Address).HasColumnName("address");
            terminal.Property(t => t.State).HasColumnName("state");
            terminal.Property(t => t.Segment).HasColumnName("segment");
            terminal.Property(t => t.Link).HasColumnName("link");
            terminal.Property(t => t.Mobile).HasColumnName("mobile");
            terminal.Property(t => t.Mac).HasColumnName("mac");
            terminal.Property(t => t.Fingerprint).HasColumnName("fingerprint");
            terminal.Property(t => t.Reported).HasColumnName("reported");
            terminal.Property(t => t.ClockOffset).HasColumnName("clock_offset_ms");
            terminal.Property(t => t.ChangedAt).HasColumnName("changed_at");
        });
        modelBuilder.Entity<GrantRow>(grant =>
        {
            grant.ToTable("grants").HasKey(g => new { g.Terminal, g.Person, g.ValidFrom });
            grant.HasOne<TerminalRow>().WithMany().HasForeignKey(g => g.Terminal);
            grant.Property(g => g.Terminal).HasColumnName("terminal");
            grant.Property(g => g.Person).HasColumnName("person");
            grant.Property(g => g.ApprovedBy).HasColumnName("approved_by");
            grant.Property(g => g.Reason).HasColumnName("reason");
            grant.Property(g => g.ValidFrom).HasColumnName("valid_from");
            grant.Property(g => g.ValidUntil).HasColumnName("valid_until");
        });
    }
}
