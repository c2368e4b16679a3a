using System.Text.Json.Nodes;

namespace AccessBroker.TargetAgent;

/// <summary>A session that runs, and its clocks, in ticks of the monotonic one.</summary>
internal sealed class Live(string id, long deadline, long ends, TimeSpan idle, Queue<TimeSpan> warnings)
{
    internal string Id => id;
    internal TimeSpan Idle => idle;
    internal (string Person, string Work) About { get; init; }
    internal Queue<TimeSpan> Warnings => warnings;
    internal long Deadline { get; set; } = deadline;
    /// <summary>The broker's name for the end, ms: a later one moves the deadline by the difference, whatever any clock says.</summary>
    internal long Ends { get; set; } = ends;
    internal long LastUse { get; set; }
    /// <summary>When the broker was last known to be there must not be longer ago. Zero: it need not be.</summary>
    internal TimeSpan CutOff { get; init; }
    /// <summary>It stands still unless a second person watches.</summary>
    internal bool TwoPerson { get; init; }
    /// <summary>Somebody watches until then.</summary>
    internal long Watched;
    /// <summary>It stands still.</summary>
    internal bool Held { get; set; }
    /// <summary>Why it ends; null: it does not. Whoever sets it first ends it.</summary>
    internal string? Reason { get; set; }
    internal Task<JsonObject>? Opened { get; set; }
}
