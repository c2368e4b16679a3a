using System.Buffers.Binary;
using System.Collections.Concurrent;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace AccessBroker.TargetAgent;

/// <summary>
/// Emergency stops that somebody signed with their card: judged here, by a list that the broker's HSM signed and that is kept on this disk, so that they
/// end sessions without the broker's database. Each counts once. <clause>MIC 1(2)⑤</clause>
/// </summary>
/// <param name="authority">The SSH CA's public key, as enrolled: it signs the list.</param>
internal sealed class StopOrders(string directory, string authority, TimeProvider time)
{
    /// <summary>As the broker's: SSHSIG namespace and what the card signs (README of the Privileged slice).</summary>
    private const string Namespace = "accessbroker-stop-list", Purpose = "accessbroker:stop-order:v1";
    private static readonly TimeSpan OrderLifetime = TimeSpan.FromMinutes(15);
    /// <summary>What was obeyed in this run and the broker has not noted, should the disk not take it; empty: noted.</summary>
    private readonly ConcurrentDictionary<string, string> _obeyed = new();
    private string ListFile => Path.Combine(directory, "stop-list.json");
    private string Obeyed => Path.Combine(directory, "stop-orders");

    /// <summary>What of the running sessions an order covers.</summary>
    internal sealed record Covered(string Scope, string Value)
    {
        internal bool Covers(string target, string person, string work) => Scope switch { "everyone" => true, "target" => Value == target, "person" => Value == person, "work" => Value == work, _ => false };
    }

    /// <summary>A fresh list. One that does not hold, or is older than what is kept, changes nothing.</summary>
    internal void KeepList(JsonElement message)
    {
        var (list, signature) = (message.GetProperty("list").GetString()!, message.GetProperty("signature").GetString()!);
        if (!Holds(list, signature)) { Log.Warn("a list of who may order a stop is not signed by the broker"); return; }
        if (Kept() is { } kept && kept.GetProperty("at").GetInt64() > JsonElement.Parse(list).GetProperty("at").GetInt64()) return;
        Keep.Write(ListFile, new JsonObject { ["list"] = list, ["signature"] = signature }.ToJsonString());
    }

    private JsonElement? Kept() => File.Exists(ListFile) && Keep.Read(ListFile) is { } file && Holds(file["list"]!.GetValue<string>(), file["signature"]!.GetValue<string>()) ? JsonElement.Parse(file["list"]!.GetValue<string>()) : null;

    private bool Holds(string list, string signature) => File.Exists(authority) && SshSignature.Holds(File.ReadAllText(authority), Namespace, Encoding.UTF8.GetBytes(list), signature);

    /// <summary>Judges an order and notes it, so that it never counts again. Throws <see cref="TargetException"/> with the code that says why it does not count.</summary>
    internal Covered Take(JsonElement stop)
    {
        var (text, key, now) = (stop.GetProperty("order").GetString()!, stop.GetProperty("key").GetString()!, time.GetUtcNow());
        if (Kept() is not { } list || DateTimeOffset.FromUnixTimeSeconds(list.GetProperty("until").GetInt64()) < now) throw new TargetException("privileged.no-stop-list");
        if (!list.GetProperty("keys").EnumerateArray().Any(k => k.GetProperty("key").GetString() == key)) throw new TargetException("privileged.not-listed");
        using var card = ECDsa.Create();
        card.ImportSubjectPublicKeyInfo(Convert.FromBase64String(key), out _);
        if (!card.VerifyData(Encode(Purpose, text), Convert.FromBase64String(stop.GetProperty("signature").GetString()!), HashAlgorithmName.SHA256, DSASignatureFormat.Rfc3279DerSequence)) throw new TargetException("privileged.order-refused");
        var order = JsonElement.Parse(text);
        var (expires, nonce) = (DateTimeOffset.FromUnixTimeSeconds(order.GetProperty("expires").GetInt64()), order.GetProperty("nonce").GetString()!);
        if (expires <= now || expires > now + OrderLifetime) throw new TargetException("privileged.order-expired");
        if (nonce.Length != 32 || !nonce.All(char.IsAsciiHexDigitLower)) throw new TargetException("privileged.order-refused");
        if (File.Exists(Path.Combine(Obeyed, nonce)) || File.Exists(Path.Combine(Obeyed, nonce + ".noted"))) throw new TargetException("privileged.order-used");
        if (!_obeyed.TryAdd(nonce, stop.GetRawText())) throw new TargetException("privileged.order-used");
        // A full disk stops no stop.
        try { Directory.CreateDirectory(Obeyed); Keep.Write(Path.Combine(Obeyed, nonce), stop.GetRawText()); }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException) { Log.Warn($"an obeyed stop cannot be kept: {e.Message}"); }
        return new(order.GetProperty("scope").GetString()!, order.GetProperty("value").GetString()!);
    }

    /// <summary>Obeyed orders that the broker has not taken note of.</summary>
    internal IEnumerable<JsonObject> Unreported()
    {
        foreach (var file in Directory.Exists(Obeyed) ? Directory.GetFiles(Obeyed).Where(f => !f.EndsWith(".noted", StringComparison.Ordinal)) : [])
            if (Path.GetFileName(file) is var nonce && !_obeyed.ContainsKey(nonce) && Keep.Read(file) is { } stop) yield return Word(nonce, stop);
        foreach (var (nonce, stop) in _obeyed) if (stop.Length > 0) yield return Word(nonce, JsonNode.Parse(stop)!);
    }

    private static JsonObject Word(string nonce, JsonNode stop) => new() { ["type"] = "stop-obeyed", ["nonce"] = nonce, ["stop"] = stop };

    /// <summary>Kept as used for as long as it could come again.</summary>
    internal void Noted(string nonce)
    {
        if (_obeyed.ContainsKey(nonce)) _obeyed[nonce] = "";
        if (nonce.Length != 32 || !nonce.All(char.IsAsciiHexDigitLower) || !File.Exists(Path.Combine(Obeyed, nonce))) return;
        File.Move(Path.Combine(Obeyed, nonce), Path.Combine(Obeyed, nonce + ".noted"), overwrite: true);
        foreach (var old in Directory.GetFiles(Obeyed, "*.noted").Where(f => File.GetLastWriteTimeUtc(f) < (time.GetUtcNow() - 2 * OrderLifetime).UtcDateTime)) File.Delete(old);
    }

    /// <summary>As cards sign: each field with its length (4 bytes, big-endian) before it.</summary>
    private static byte[] Encode(params string[] fields) => [.. fields.SelectMany(field =>
    {
        var text = Encoding.UTF8.GetBytes(field);
        var length = new byte[4];
        BinaryPrimitives.WriteInt32BigEndian(length, text.Length);
        return length.Concat(text);
    })];
}
