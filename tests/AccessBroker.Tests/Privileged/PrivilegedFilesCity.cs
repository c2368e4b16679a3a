using AccessBroker.Tests.FileServer;
using AccessBroker.Tests.Support;

namespace AccessBroker.Tests.Privileged;

/// <summary>A city with hosts, a database and a file server to work on.</summary>
public class PrivilegedFilesCity : PrivilegedCity
{
    private FilesNginx? _files;
    internal FilesNginx Files => _files ??= new(DataDirectory);

    protected override IEnumerable<KeyValuePair<string, string>> Settings => Files.Settings;
    protected override Task ArrangeAsync() => Files.StartAsync();
    protected override async Task EndAsync()
    {
        await Files.StopAsync();
        await base.EndAsync();
    }

    /// <summary>From the file server to the broker and back.</summary>
    internal async Task EnterFilesAsync(ConsoleBrowser me)
    {
        var to = new Uri(Files.Origin + "/");
        for (var hop = 0; hop < 4; hop++)
        {
            using var response = await me.Http.GetAsync(to);
            if (response.Headers.Location is not { } next) return;
            to = new Uri(to, next);
        }
    }

    /// <summary>Where a file is.</summary>
    internal Uri FileUrl(string path) => new($"{Files.Origin}/{string.Join('/', path.Split('/').Select(Uri.EscapeDataString))}");
}
