using System.Diagnostics;
using AccessBroker.TerminalAgent.Platform;
using CardSimulator;

namespace AccessBroker.Tests.Support;

/// <summary>
/// A reader and its card without pcscd, for crowds: pcscd has 16 readers at most. The card is the simulator's own applet, and everything above
/// the PC/SC calls is the real agent.
/// </summary>
internal sealed class MemoryReader(CardState card) : IPcsc
{
    private const string Name = "Memory Reader 0";
    private readonly PivApplet _applet = new(card, () => { });
    private readonly Lock _transmitting = new();
    private readonly object _gate = new();
    private bool _inside;
    private uint _events;

    /// <summary>What the card itself computed so far.</summary>
    internal TimeSpan CardTime { get; private set; }

    internal bool Inside { get { lock (_gate) return _inside; } }

    internal void Insert() => Move(true);

    internal void Remove() => Move(false);

    public nint EstablishContext() => 1;
    public void ReleaseContext(nint context) { }
    public string[] ListReaders(nint context) => [Name];

    public uint WaitForChange(nint context, string reader, uint known, int milliseconds)
    {
        lock (_gate)
        {
            if (State == known) Monitor.Wait(_gate, milliseconds);
            return State == known ? State : State | PcscConstants.StateChanged;
        }
    }

    public (nint Card, uint Protocol) ConnectExclusive(nint context, string reader)
    {
        lock (_gate) return _inside ? (1, PcscConstants.ProtocolT1) : throw new PcscException("connect", PcscException.NoSmartcard);
    }

    public uint Reset(nint card)
    {
        RequireCard();
        lock (_transmitting) _applet.Reset();
        return PcscConstants.ProtocolT1;
    }

    public byte[] Transmit(nint card, uint protocol, ReadOnlySpan<byte> command)
    {
        RequireCard();
        lock (_transmitting)
        {
            var began = Stopwatch.GetTimestamp();
            var answer = _applet.Transmit(command);
            CardTime += Stopwatch.GetElapsedTime(began);
            return answer;
        }
    }

    public void Disconnect(nint card) { }

    private uint State => (_events << 16) | (_inside ? PcscConstants.StatePresent : PcscConstants.StateEmpty);

    private void RequireCard() { lock (_gate) if (!_inside) throw new PcscException("transmit", PcscException.RemovedCard); }

    private void Move(bool inside)
    {
        lock (_gate)
        {
            if (_inside == inside) return;
            (_inside, _events) = (inside, (_events + 1) & 0xFFFF);
            Monitor.PulseAll(_gate);
        }
    }
}
