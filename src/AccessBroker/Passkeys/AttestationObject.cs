using System.Buffers.Binary;
using System.Formats.Cbor;

namespace AccessBroker.Passkeys;

/// <summary>An attestation object (Web Authentication Level 3 §6.5), read strictly: CTAP2 canonical CBOR, nothing left over.</summary>
/// <param name="Format">none, packed, tpm, …</param>
/// <param name="Statement">Members of the statement: byte strings, texts, integers, lists of byte strings.</param>
/// <param name="AuthenticatorData">As signed.</param>
/// <param name="Aaguid">The model.</param>
internal sealed record AttestationObject(string Format, IReadOnlyDictionary<string, object> Statement, byte[] AuthenticatorData, Guid Aaguid, byte[] CredentialId, byte[] PublicKey)
{
    internal byte[] RpIdHash => AuthenticatorData[..32];
    internal bool UserVerified => (AuthenticatorData[32] & 0x04) != 0;
    internal uint SignCount => BinaryPrimitives.ReadUInt32BigEndian(AuthenticatorData.AsSpan(33));

    /// <summary>Null: it is none.</summary>
    internal static AttestationObject? Read(ReadOnlyMemory<byte> bytes)
    {
        try
        {
            var reader = new CborReader(bytes, CborConformanceMode.Ctap2Canonical);
            if (ReadMap(reader) is not { Count: 3 } map || reader.BytesRemaining > 0 || map.GetValueOrDefault("fmt") is not string format || map.GetValueOrDefault("attStmt") is not Dictionary<string, object> statement || map.GetValueOrDefault("authData") is not byte[] data) return null;
            // §6.1: rpIdHash 32, flags 1, counter 4; with AT: aaguid 16, length 2, id, COSE key.
            if (data.Length < 55 || (data[32] & 0x40) == 0) return null;
            var length = BinaryPrimitives.ReadUInt16BigEndian(data.AsSpan(53));
            if (length > 1023 || data.Length < 55 + length) return null;
            var key = new CborReader(data.AsMemory(55 + length), CborConformanceMode.Ctap2Canonical);
            return new(format, statement, data, new Guid(data.AsSpan(37, 16), bigEndian: true), data[55..(55 + length)], key.ReadEncodedValue().ToArray());
        }
        catch (Exception e) when (e is CborContentException or InvalidOperationException or OverflowException) { return null; }
    }

    private static Dictionary<string, object>? ReadMap(CborReader reader)
    {
        var map = new Dictionary<string, object>();
        var count = reader.ReadStartMap();
        for (var i = 0; i < count; i++)
        {
            var name = reader.ReadTextString();
            if (ReadValue(reader) is not { } value) return null;
            map[name] = value;
        }
        reader.ReadEndMap();
        return map;
    }

    private static object? ReadValue(CborReader reader)
    {
        switch (reader.PeekState())
        {
            case CborReaderState.ByteString: return reader.ReadByteString();
            case CborReaderState.TextString: return reader.ReadTextString();
            case CborReaderState.UnsignedInteger or CborReaderState.NegativeInteger: return reader.ReadInt64();
            case CborReaderState.StartMap: return ReadMap(reader);
            case CborReaderState.StartArray:
                var list = new List<byte[]>();
                var count = reader.ReadStartArray();
                for (var i = 0; i < count; i++) list.Add(reader.ReadByteString());
                reader.ReadEndArray();
                return list;
            default: return null;
        }
    }
}
