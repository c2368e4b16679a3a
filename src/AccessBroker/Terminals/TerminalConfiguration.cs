using AccessBroker.Database;
using AccessBroker.History;
using AccessBroker.Notices;
using AccessBroker.Policies;
using AccessBroker.Primitives;

namespace AccessBroker.Terminals;

/// <summary>What a terminal does whose configuration is not the approved one. <clause>INA 第17</clause></summary>
public enum Drift
{
    /// <summary>The responsible person and the history are told.</summary>
    Alert,
    /// <summary>The terminal is refused as well, until the change is approved.</summary>
    Block,
}

/// <summary>Rules for terminals. Values are ours.</summary>
public sealed record TerminalsPolicy : IPolicy
{
    /// <summary>What a changed configuration does. Default: alert. <clause>INA 第14(2), 第17</clause></summary>
    public required Drift ConfigurationDrift { get; init; }

    /// <inheritdoc/>
    public IEnumerable<string> Problems() => Enum.IsDefined(ConfigurationDrift) ? [] : [$"configuration-drift must be alert or block, but is {ConfigurationDrift}"];
}

/// <summary>Compares what an agent reports of its machine with what was approved. <clause>INA 第17, MOJ 第5-7(1)イ</clause></summary>
internal sealed class TerminalConfiguration(Store store, Active<TerminalsPolicy> policy, TimeProvider time)
{
    /// <summary>Notes the reported fingerprint; false: it is not the approved one, and policy blocks.</summary>
    internal async Task<bool> AcceptsAsync(TerminalId terminal, string? fingerprint, CancellationToken ct)
    {
        // An agent that does not say is told of like one that says something else; but nothing is approved by silence.
        var said = fingerprint is not null && IdForm.Fits(fingerprint);
        fingerprint = said ? fingerprint! : "none";
        await using var work = await store.BeginAsync(ct);
        if (await work.AskAsync(TerminalRegister.FindLine(terminal), ct) is not { } line) return false;
        if (line.Reported == fingerprint) return line.Fingerprint == fingerprint || policy.Now.ConfigurationDrift == Drift.Alert;
        // The first report after the enrolment is what was approved.
        var first = said && line.Fingerprint.Length == 0;
        work.Write($"update terminals.terminals set reported = {fingerprint}, fingerprint = case when {first} then {fingerprint} else fingerprint end where id = {terminal}");
        var drifted = !first && line.Fingerprint != fingerprint;
        work.Record(new("terminals.report-configuration", drifted ? HistoryOutcome.Refused : HistoryOutcome.Done, drifted ? "terminals.configuration-drift" : "")
        { Terminal = terminal, Details = new Dictionary<string, string> { ["approved"] = line.Fingerprint, ["reported"] = fingerprint } }, time.GetUtcNow());
        if (drifted) work.Notify([line.Responsible], $"端末の構成が変わりました: {line.Name}", "承認された構成と違います。心当たりを確かめ、正しい変更なら「端末の変更」を申請してください。", $"/terminals/{terminal}", time.GetUtcNow());
        await work.CommitAsync(ct);
        return !drifted || policy.Now.ConfigurationDrift == Drift.Alert;
    }
}
