using AccessBroker.People;
using AccessBroker.Policies;

namespace AccessBroker.Staff;

/// <summary>A post of the city that comes with roles.</summary>
public sealed record PostRoles
{
    /// <summary>職名 as the roster has it.</summary>
    public required string Post { get; init; }
    /// <summary>所属コード; empty: of every section.</summary>
    public string Section { get; init; } = "";
    /// <summary>Roles of roles.yaml.</summary>
    public required List<string> Roles { get; init; }
}

/// <summary>Post → roles: what a post on the roster may do. People have roles by their posts only.</summary>
public sealed record PostsPolicy : IPolicy
{
    /// <summary>Roles of every post that is not listed.</summary>
    public required List<string> DefaultRoles { get; init; }
    /// <summary>Roles of temporary staff, whatever their post. <clause>MIC 5.1(2)③</clause></summary>
    public required List<string> TemporaryRoles { get; init; }
    /// <summary>Posts with roles of their own.</summary>
    public required List<PostRoles> Posts { get; init; }
    /// <summary>Without a sign-in for so long an id is dormant, 7 d..730 d. Default 90 d. <clause>MIC 6.2(1)②(ウ)</clause></summary>
    public required TimeSpan DormantAfter { get; init; }

    /// <summary>The roles of a post; a contractor is a contractor, whatever the post. <clause>MIC 6.2(1)③(エ)</clause></summary>
    public IReadOnlyList<HeldPost> Held(string post, string section, string employment) =>
        [.. (employment == "contractor" ? ["contractor"] : employment == "temporary" ? TemporaryRoles : Posts.FirstOrDefault(p => p.Post == post && (p.Section.Length == 0 || p.Section == section))?.Roles ?? DefaultRoles).Select(role => new HeldPost(post, section, role))];

    /// <inheritdoc/>
    public IEnumerable<string> Problems() =>
    [
        .. PolicyFiles.OutOfRange("dormant-after", DormantAfter, TimeSpan.FromDays(7), TimeSpan.FromDays(730)),
        .. Posts.Where(p => p.Post.Length == 0 || p.Roles.Count == 0).Select(p => $"posts: '{p.Post}' needs a name and roles"),
        .. DefaultRoles.Count == 0 ? (string[])["default-roles is empty"] : [],
    ];
}
