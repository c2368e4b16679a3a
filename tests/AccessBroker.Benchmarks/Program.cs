using System.Globalization;
using System.Text.Json;
using AccessBroker.Benchmarks;

// ./dev bench [NAME…] [--json FILE]: each benchmark ends with one line "NAME VALUE UNIT goal GOAL ok|short"; only ratios within one run count.
CultureInfo.DefaultThreadCurrentCulture = CultureInfo.CurrentCulture = CultureInfo.InvariantCulture;
var benchmarks = new Dictionary<string, Func<Task<Result>>> { ["signin"] = SignIn.RunAsync, ["passkey"] = SignIn.WithPasskeysAsync, ["card-out"] = CardOut.RunAsync, ["permissions"] = FileRights.RunAsync, ["file-cut"] = FileCuts.RunAsync, ["end-ssh"] = PrivilegedEnds.SshAsync, ["end-postgres"] = PrivilegedEnds.PostgresAsync, ["end-files"] = PrivilegedEnds.FilesAsync, ["kill-switch"] = PrivilegedEnds.KillSwitchAsync };
string? json = null;
var names = new List<string>();
for (var i = 0; i < args.Length; i++)
{
    if (args[i] == "--json" && i + 1 < args.Length) json = args[++i];
    else if (benchmarks.ContainsKey(args[i])) names.Add(args[i]);
    else
    {
        await Console.Error.WriteLineAsync($"bench: no benchmark '{args[i]}'; there are: {string.Join(' ', benchmarks.Keys)}");
        return 2;
    }
}
var results = new List<Result>();
foreach (var name in names.Count > 0 ? names : [.. benchmarks.Keys])
{
    var result = await benchmarks[name]();
    results.Add(result);
    foreach (var (key, value) in result.Details) await Console.Out.WriteLineAsync($"  {key}: {value}");
    await Console.Out.WriteLineAsync($"{result.Name} {result.Value:0.###} {result.Unit} goal {result.Goal:0.###} {(result.Ok ? "ok" : "short")}");
}
if (json is not null) await File.WriteAllTextAsync(json, JsonSerializer.Serialize(results.Select(r => new { r.Name, r.Value, r.Unit, r.Goal, r.Ok, conditions = Conditions.Read(), r.Details }), Json.Readable));
return 0;
