using System.Text.Json;
using AccessBroker.Keys;
using AccessBroker.TerminalAgent;
using AccessBroker.Tests.Support;
using AccessBroker.Web;

namespace AccessBroker.Tests.Operations;

/// <summary>The samples name every setting there is, and no other. (haproxy.cfg is what the tests with two nodes run.)</summary>
public sealed class SampleTests
{
    private static JsonElement Read(string file) => JsonDocument.Parse(File.ReadAllText(Path.Combine(Place.Root, file)), new JsonDocumentOptions { CommentHandling = JsonCommentHandling.Skip }).RootElement;

    private static IEnumerable<string> Settings(Type options) => options.GetProperties().Where(p => p.CanWrite || typeof(System.Collections.ICollection).IsAssignableFrom(p.PropertyType)).Where(p => p.PropertyType != typeof(HsmKey)).Select(p => p.Name).Order();

    [Theory]
    [InlineData("appsettings.Sample.json", "Broker", typeof(BrokerOptions)), InlineData("appsettings.Sample.json", "Hsm", typeof(HsmOptions)), InlineData("src/AccessBroker.TerminalAgent/samples/agent.Sample.json", "", typeof(AgentOptions))]
    public void A_sample_names_every_setting_and_no_other(string file, string section, Type options)
    {
        var sample = section.Length == 0 ? Read(file) : Read(file).GetProperty(section);
        Assert.Equal(Settings(options), sample.EnumerateObject().Select(p => p.Name).Order());
    }

    [Theory, InlineData("src/AccessBroker/samples/accessbroker.service"), InlineData("src/AccessBroker.TerminalAgent/samples/accessbroker-agent.service")]
    public void A_unit_runs_as_its_own_user_without_rights_to_spare(string file)
    {
        var lines = File.ReadAllLines(Path.Combine(Place.Root, file)).Where(l => l.Contains('=', StringComparison.Ordinal) && !l.StartsWith('#')).Select(l => l.Split('=', 2)).ToLookup(l => l[0], l => l[1]);
        Assert.StartsWith("accessbroker", lines["User"].Single(), StringComparison.Ordinal);
        Assert.Equal(("yes", "strict", "0077", "0"), (lines["NoNewPrivileges"].Single(), lines["ProtectSystem"].Single(), lines["UMask"].Single(), lines["LimitCORE"].Single()));
        Assert.EndsWith(file.Contains("agent", StringComparison.Ordinal) ? "agent.json" : "serve", lines["ExecStart"].Single(), StringComparison.Ordinal);
    }
}
