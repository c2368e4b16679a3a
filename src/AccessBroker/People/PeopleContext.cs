using Microsoft.EntityFrameworkCore;

namespace AccessBroker.People;

/// <summary>A natural person of the register. Ids are never reused. <clause>MIC 5.4(2)①</clause></summary>
internal sealed class PersonRow
{
    public required string Id { get; init; }
    public required string Name { get; set; }
    public required DateTimeOffset ValidFrom { get; set; }
    public DateTimeOffset? ValidUntil { get; set; }
    public List<PostRow> Posts { get; init; } = [];
}

/// <summary>A post that a person holds for a time, and the role that comes with it.</summary>
internal sealed class PostRow
{
    public required string Person { get; init; }
    public required string Post { get; init; }
    public required string Section { get; set; }
    public required string Role { get; set; }
    public required DateTimeOffset ValidFrom { get; set; }
    public DateTimeOffset? ValidUntil { get; set; }
}

internal sealed class PeopleContext(DbContextOptions<PeopleContext> options) : DbContext(options)
{
    public DbSet<PersonRow> Persons => Set<PersonRow>();

    protected override void OnModelCreating(ModelBuilder modelBuilder)
    {
        modelBuilder.HasDefaultSchema("people");
        modelBuilder.Entity<PersonRow>(person =>
        {
            person.ToTable("persons").HasKey(p => p.Id);
            person.Property(p => p.Id).HasColumnName("id");
            person.Property(p => p.Name).HasColumnName("name");
            person.Property(p => p.ValidFrom).HasColumnName("valid_from");
            person.Property(p => p.ValidUntil).HasColumnName("valid_until");
            person.HasMany(p => p.Posts).WithOne().HasForeignKey(p => p.Person);
        });
        modelBuilder.Entity<PostRow>(post =>
        {
            post.ToTable("posts").HasKey(p => new { p.Person, p.Post, p.ValidFrom });
            post.Property(p => p.Person).HasColumnName("person");
            post.Property(p => p.Post).HasColumnName("post");
            post.Property(p => p.Section).HasColumnName("section");
            post.Property(p => p.Role).HasColumnName("role");
            post.Property(p => p.ValidFrom).HasColumnName("valid_from");
            post.Property(p => p.ValidUntil).HasColumnName("valid_until");
        });
    }
}
