using System.Runtime.InteropServices;
using System.Text;
using static AccessBroker.TerminalAgent.Platform.PcscConstants;

namespace AccessBroker.TerminalAgent.Platform;

/// <summary>pcsc-lite on Linux: DWORD and LONG are 8 bytes on 64-bit systems, strings are 8-bit.</summary>
internal sealed unsafe partial class PcscLite : IPcsc
{
    /// <summary>SCARD_READERSTATE of pcsclite.h; size 80 on LP64.</summary>
    [StructLayout(LayoutKind.Sequential)]
    internal struct ReaderState
    {
        internal byte* Reader;
        internal void* UserData;
        internal nuint Current, Event, AtrLength;
        internal fixed byte Atr[33];
    }

    /// <summary>SCARD_IO_REQUEST; size 16 on LP64.</summary>
    [StructLayout(LayoutKind.Sequential)]
    internal struct IoRequest { internal nuint Protocol, Length; }

    public nint EstablishContext()
    {
        nint context;
        Check("SCardEstablishContext", SCardEstablishContext(ScopeSystem, 0, 0, &context));
        return context;
    }

    public void ReleaseContext(nint context) => _ = SCardReleaseContext(context);

    public string[] ListReaders(nint context)
    {
        nuint length = 0;
        var code = (uint)SCardListReaders(context, null, null, &length);
        if (code == PcscException.NoReaders) return [];
        Check("SCardListReaders", code);
        var names = new byte[(int)length];
        fixed (byte* n = names) code = (uint)SCardListReaders(context, null, n, &length);
        if (code == PcscException.NoReaders) return [];
        Check("SCardListReaders", code);
        return Encoding.UTF8.GetString(names, 0, (int)length).Split('\0', StringSplitOptions.RemoveEmptyEntries);
    }

    public uint WaitForChange(nint context, string reader, uint known, int milliseconds)
    {
        fixed (byte* name = Encoding.UTF8.GetBytes(reader + '\0'))
        {
            var state = new ReaderState { Reader = name, Current = known };
            var code = (uint)SCardGetStatusChange(context, (nuint)milliseconds, &state, 1);
            if (code == PcscException.Timeout) return known;
            Check("SCardGetStatusChange", code);
            return (uint)state.Event;
        }
    }

    public (nint Card, uint Protocol) ConnectExclusive(nint context, string reader)
    {
        nint card;
        nuint protocol;
        fixed (byte* name = Encoding.UTF8.GetBytes(reader + '\0'))
            Check("SCardConnect", SCardConnect(context, name, ShareExclusive, ProtocolT0 | ProtocolT1, &card, &protocol));
        return (card, (uint)protocol);
    }

    public uint Reset(nint card)
    {
        nuint protocol;
        Check("SCardReconnect", SCardReconnect(card, ShareExclusive, ProtocolT0 | ProtocolT1, ResetCard, &protocol));
        return (uint)protocol;
    }

    public byte[] Transmit(nint card, uint protocol, ReadOnlySpan<byte> command)
    {
        var response = new byte[MaxResponse];
        nuint length = MaxResponse;
        var request = new IoRequest { Protocol = protocol, Length = (nuint)sizeof(IoRequest) };
        fixed (byte* c = command, r = response) Check("SCardTransmit", SCardTransmit(card, &request, c, (nuint)command.Length, null, r, &length));
        return response[..(int)length];
    }

    public void Disconnect(nint card) => _ = SCardDisconnect(card, ResetCard);

    private static void Check(string function, nint code) => Check(function, (uint)code);
    private static void Check(string function, uint code) { if (code != 0) throw new PcscException(function, code); }

    private const string Library = "libpcsclite.so.1";
    [LibraryImport(Library)] private static partial nint SCardEstablishContext(nuint scope, nint reserved1, nint reserved2, nint* context);
    [LibraryImport(Library)] private static partial nint SCardReleaseContext(nint context);
    [LibraryImport(Library)] private static partial nint SCardListReaders(nint context, byte* groups, byte* readers, nuint* length);
    [LibraryImport(Library)] private static partial nint SCardGetStatusChange(nint context, nuint timeout, ReaderState* states, nuint count);
    [LibraryImport(Library)] private static partial nint SCardConnect(nint context, byte* reader, nuint share, nuint protocols, nint* card, nuint* protocol);
    [LibraryImport(Library)] private static partial nint SCardReconnect(nint card, nuint share, nuint protocols, nuint initialization, nuint* protocol);
    [LibraryImport(Library)] private static partial nint SCardTransmit(nint card, IoRequest* send, byte* command, nuint length, IoRequest* receive, byte* response, nuint* responseLength);
    [LibraryImport(Library)] private static partial nint SCardDisconnect(nint card, nuint disposition);
}
