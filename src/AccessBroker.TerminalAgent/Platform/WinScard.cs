using System.Runtime.InteropServices;
using System.Runtime.Versioning;
using static AccessBroker.TerminalAgent.Platform.PcscConstants;

namespace AccessBroker.TerminalAgent.Platform;

/// <summary>WinSCard on Windows: DWORD and LONG are 4 bytes, strings are UTF-16. Compiled and its layouts tested here; not run here.</summary>
[SupportedOSPlatform("windows")]
internal sealed unsafe partial class WinScard : IPcsc
{
    /// <summary>SCARD_READERSTATEW of winscard.h; size 64 on 64-bit Windows.</summary>
    [StructLayout(LayoutKind.Sequential)]
    internal struct ReaderState
    {
        internal char* Reader;
        internal void* UserData;
        internal uint Current, Event, AtrLength;
        internal fixed byte Atr[36];
    }

    /// <summary>SCARD_IO_REQUEST; size 8.</summary>
    [StructLayout(LayoutKind.Sequential)]
    internal struct IoRequest { internal uint Protocol, Length; }

    public nint EstablishContext()
    {
        nint context;
        Check("SCardEstablishContext", SCardEstablishContext(ScopeSystem, 0, 0, &context));
        return context;
    }

    public void ReleaseContext(nint context) => _ = SCardReleaseContext(context);

    public string[] ListReaders(nint context)
    {
        uint length = 0;
        var code = SCardListReadersW(context, null, null, &length);
        if (code == PcscException.NoReaders) return [];
        Check("SCardListReaders", code);
        var names = new char[(int)length];
        fixed (char* n = names) Check("SCardListReaders", SCardListReadersW(context, null, n, &length));
        return new string(names, 0, (int)length).Split('\0', StringSplitOptions.RemoveEmptyEntries);
    }

    public uint WaitForChange(nint context, string reader, uint known, int milliseconds)
    {
        fixed (char* name = reader)
        {
            var state = new ReaderState { Reader = name, Current = known };
            var code = SCardGetStatusChangeW(context, (uint)milliseconds, &state, 1);
            if (code == PcscException.Timeout) return known;
            Check("SCardGetStatusChange", code);
            return state.Event;
        }
    }

    public (nint Card, uint Protocol) ConnectExclusive(nint context, string reader)
    {
        nint card;
        uint protocol;
        fixed (char* name = reader) Check("SCardConnect", SCardConnectW(context, name, ShareExclusive, ProtocolT0 | ProtocolT1, &card, &protocol));
        return (card, protocol);
    }

    public uint Reset(nint card)
    {
        uint protocol;
        Check("SCardReconnect", SCardReconnect(card, ShareExclusive, ProtocolT0 | ProtocolT1, ResetCard, &protocol));
        return protocol;
    }

    public byte[] Transmit(nint card, uint protocol, ReadOnlySpan<byte> command)
    {
        var response = new byte[MaxResponse];
        uint length = MaxResponse;
        var request = new IoRequest { Protocol = protocol, Length = (uint)sizeof(IoRequest) };
        fixed (byte* c = command, r = response) Check("SCardTransmit", SCardTransmit(card, &request, c, (uint)command.Length, null, r, &length));
        return response[..(int)length];
    }

    public void Disconnect(nint card) => _ = SCardDisconnect(card, ResetCard);

    private static void Check(string function, uint code) { if (code != 0) throw new PcscException(function, code); }

    private const string Library = "winscard.dll";
    [LibraryImport(Library)] private static partial uint SCardEstablishContext(uint scope, nint reserved1, nint reserved2, nint* context);
    [LibraryImport(Library)] private static partial uint SCardReleaseContext(nint context);
    [LibraryImport(Library)] private static partial uint SCardListReadersW(nint context, char* groups, char* readers, uint* length);
    [LibraryImport(Library)] private static partial uint SCardGetStatusChangeW(nint context, uint timeout, ReaderState* states, uint count);
    [LibraryImport(Library)] private static partial uint SCardConnectW(nint context, char* reader, uint share, uint protocols, nint* card, uint* protocol);
    [LibraryImport(Library)] private static partial uint SCardReconnect(nint card, uint share, uint protocols, uint initialization, uint* protocol);
    [LibraryImport(Library)] private static partial uint SCardTransmit(nint card, IoRequest* send, byte* command, uint length, IoRequest* receive, byte* response, uint* responseLength);
    [LibraryImport(Library)] private static partial uint SCardDisconnect(nint card, uint disposition);
}
