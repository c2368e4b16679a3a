using Microsoft.EntityFrameworkCore;

namespace AccessBroker.People;

/// <summary>A natural person of the register. Ids are never reused. <clause>MIC 5.4(2)①</clause></summary>
internal sealed class PersonRow
{
    public required string Id { get; init; }
    /// <summary>職員番号, when the person has one.</summary>
    public string? StaffNumber { get; set; }
    /// <summary>regular, temporary or contractor.</summary>
    public string Employment { get; set; } = "regular";
    public string? Mail { get; set; }
    public required DateTimeOffset ValidFrom { get; set; }
    public DateTimeOffset? ValidUntil { get; set; }
    public List<NameRow> Names { get; init; } = [];
    public List<PostRow> Posts { get; init; } = [];
}

/// <summary>What a person is called from a day on.</summary>
internal sealed class NameRow
{
    public required string Person { get; init; }
    public required string Name { get; init; }
    public string Kana { get; init; } = "";
    public required DateTimeOffset ValidFrom { get; init; }
    public DateTimeOffset? ValidUntil { get; set; }
}

/// <summary>A role of a post that a person holds for a time; a post with two roles is two rows.</summary>
internal sealed class PostRow
{
    public required string Person { get; init; }
    public required string Post { get; init; }
    public required string Section { get; init; }
    public required string Role { get; init; }
    public required DateTimeOffset ValidFrom { get; init; }
    public DateTimeOffset? ValidUntil { get; set; }
}

internal sealed class PeopleContext(DbContextOptions<PeopleContext> options) : DbContext(options)
{
    public DbSet<PersonRow> Persons => Set<PersonRow>();
    public DbSet<NameRow> Names => Set<NameRow>();
    public DbSet<PostRow> Posts => Set<PostRow>();

    protected override void OnModelCreating(ModelBuilder modelBuilder)
    {
        modelBuilder.HasDefaultSchema("people");
        modelBuilder.Entity<PersonRow>(person =>
        {
            person.ToTable("persons").HasKey(p => p.Id);
            person.Property(p => p.Id).HasColumnName("id");
            person.Property(p => p.StaffNumber).HasColumnName("staff_number");
            person.Property(p => p.Employment).HasColumnName("employment");
            person.Property(p => p.Mail).HasColumnName("mail");
            person.Property(p => p.ValidFrom).HasColumnName("valid_from");
            person.Property(p => p.ValidUntil).HasColumnName("valid_until");
            person.HasMany(p => p.Names).WithOne().HasForeignKey(p => p.Person);
            person.HasMany(p => p.Posts).WithOne().HasForeignKey(p => p.Person);
        });
        modelBuilder.Entity<NameRow>(name =>
        {
            name.ToTable("names").HasKey(n => new { n.Person, n.ValidFrom });
            name.Property(n => n.Person).HasColumnName("person");
            name.Property(n => n.Name).HasColumnName("name");
            name.Property(n => n.Kana).HasColumnName("kana");
            name.Property(n => n.ValidFrom).HasColumnName("valid_from");
            name.Property(n => n.ValidUntil).HasColumnName("valid_until");
        });
        modelBuilder.Entity<PostRow>(post =>
        {
            post.ToTable("posts").HasKey(p => new { p.Person, p.Post, p.Section, p.Role, p.ValidFrom });
            post.Property(p => p.Person).HasColumnName("person");
            post.Property(p => p.Post).HasColumnName("post");
            post.Property(p => p.Section).HasColumnName("section");
            post.Property(p => p.Role).HasColumnName("role");
            post.Property(p => p.ValidFrom).HasColumnName("valid_from");
            post.Property(p => p.ValidUntil).HasColumnName("valid_until");
        });
    }
}
