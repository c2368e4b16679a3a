using System.Runtime.InteropServices;

namespace AccessBroker.TargetAgent.Ssh;

/// <summary>
/// What must not wait for its turn among hundreds of dying processes: each kill wakes some that want to run at once, and between one kill and the next they
/// did. The last of a hundred sessions was killed 300 ms after the first.
/// </summary>
internal static partial class Urgent
{
    private const int Other = 0, Fifo = 1, ResetOnFork = 0x40000000;

    /// <summary>Runs it on this thread before everything ordinary (SCHED_FIFO), as far as the agent may; it must end soon.</summary>
    internal static void Run(Action act)
    {
        var (lowest, none) = (1, 0);
        // 0 is the calling thread. Where it is not allowed the kills come all the same, only later.
        var raised = sched_setscheduler(0, Fifo | ResetOnFork, ref lowest) == 0;
        try { act(); }
        finally { if (raised && sched_setscheduler(0, Other | ResetOnFork, ref none) != 0) Log.Warn("a thread keeps its priority"); }
    }

    [LibraryImport("libc", SetLastError = true)] private static partial int sched_setscheduler(int thread, int policy, ref int priority);
}
