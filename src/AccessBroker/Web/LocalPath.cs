namespace AccessBroker.Web;

/// <summary>A path of ours that came from outside, to be redirected to.</summary>
public static class LocalPath
{
    /// <summary>
    /// The path, or "/" when it could lead elsewhere: it must start with one slash and hold printable ASCII without a backslash only, at most
    /// 400 characters. (Browsers drop tabs and line ends, and take a backslash for a slash: "/&lt;tab&gt;/host" is another site.)
    /// </summary>
    public static string OrRoot(string? path) =>
        path is ['/', ..] and not ['/', '/', ..] && path.Length <= 400 && path.All(c => c is > ' ' and < '\x7f' and not '\\') ? path : "/";
}
