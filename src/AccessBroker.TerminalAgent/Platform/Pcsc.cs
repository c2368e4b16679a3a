namespace AccessBroker.TerminalAgent.Platform;

/// <summary>The PC/SC calls that we need, the same on every platform; layouts and libraries differ below. Throws <see cref="PcscException"/>.</summary>
internal interface IPcsc
{
    nint EstablishContext();
    void ReleaseContext(nint context);
    /// <summary>Names of the readers; empty when there is none.</summary>
    string[] ListReaders(nint context);
    /// <summary>Waits until the reader's state differs from <paramref name="known"/>, or the time is over; returns the state's flags (SCARD_STATE_*).</summary>
    uint WaitForChange(nint context, string reader, uint known, int milliseconds);
    /// <summary>Connects exclusively: nobody else uses the card while we hold it.</summary>
    (nint Card, uint Protocol) ConnectExclusive(nint context, string reader);
    /// <summary>Resets the card: every security state is gone.</summary>
    uint Reset(nint card);
    byte[] Transmit(nint card, uint protocol, ReadOnlySpan<byte> command);
    void Disconnect(nint card);
}

/// <summary>A PC/SC call that did not return SCARD_S_SUCCESS.</summary>
internal sealed class PcscException : Exception
{
    internal const uint Timeout = 0x8010000A, NoService = 0x8010001D, NoReaders = 0x8010002E, NoSmartcard = 0x8010000C, RemovedCard = 0x80100069, ReaderUnavailable = 0x80100017, UnknownReader = 0x80100009;

    public PcscException() { }
    public PcscException(string message) : base(message) { }
    public PcscException(string message, Exception inner) : base(message, inner) { }
    internal PcscException(string function, uint code) : base($"{function}: 0x{code:X8}") => Code = code;
    internal uint Code { get; }
    /// <summary>The reader is empty.</summary>
    internal bool NoCard => Code == NoSmartcard;
    /// <summary>The card or its reader is gone.</summary>
    internal bool Gone => Code is RemovedCard or NoSmartcard or ReaderUnavailable or NoService or UnknownReader or NoReaders;
}

/// <summary>Flags and constants of PC/SC part 3, the same everywhere.</summary>
internal static class PcscConstants
{
    internal const uint StateUnaware = 0, StateChanged = 0x2, StateUnknown = 0x4, StateUnavailable = 0x8, StateEmpty = 0x10, StatePresent = 0x20, StateMute = 0x200;
    internal const uint ScopeSystem = 2, ShareExclusive = 1, ProtocolT0 = 1, ProtocolT1 = 2, LeaveCard = 0, ResetCard = 1;
    internal const int MaxResponse = 65_538;
}
