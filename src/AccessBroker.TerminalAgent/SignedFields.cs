using System.Buffers.Binary;
using System.Text;

namespace AccessBroker.TerminalAgent;

/// <summary>What the card signs: a versioned purpose tag, then each field, all with their lengths (4 bytes, big-endian) before them. The broker has its own copy: README of the Terminals slice.</summary>
internal static class SignedFields
{
    internal const string Possession = "accessbroker:possession:v1", SignIn = "accessbroker:sign-in:v1", Receipt = "accessbroker:receipt:v1", PinFailed = "accessbroker:pin-failed:v1", FirstPinSet = "accessbroker:first-pin-set:v1", Approval = "accessbroker:approval:v1", StopOrder = "accessbroker:stop-order:v1";

    internal static byte[] Encode(string purpose, params string[] fields) => [.. fields.Prepend(purpose).SelectMany(field =>
    {
        var text = Encoding.UTF8.GetBytes(field);
        var length = new byte[4];
        BinaryPrimitives.WriteInt32BigEndian(length, text.Length);
        return length.Concat(text);
    })];
}
