using System.Collections.Concurrent;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Text;
using static AccessBroker.Keys.Cryptoki;

namespace AccessBroker.Keys;

/// <summary>
/// One instance of a PKCS#11 module with a logged-in session per token. Used by one thread only. Every instance loads its own copy of the
/// module's file: C_Finalize is per instance, so a dead connection can be thrown away alone.
/// </summary>
internal sealed unsafe class Pkcs11Session : IDisposable
{
    private readonly nint _library;
    private readonly string _module;
    private bool _disposed;
    private readonly FunctionList* _f;
    private readonly Dictionary<string, nuint> _sessions = [];

    /// <summary>Loads the module and initialises it. Throws <see cref="Pkcs11Exception"/> or <see cref="DllNotFoundException"/>.</summary>
    internal Pkcs11Session(string module, IReadOnlyDictionary<string, string> environment)
    {
        // The module reads the C environment, which .NET's own copy does not reach.
        foreach (var (name, value) in environment) _ = setenv(name, value, 1);
        _module = module;
        _library = Unused.GetOrAdd(module, _ => new()).TryTake(out var unused) ? unused : LoadCopy(module);
        var getFunctionList = (delegate* unmanaged<void**, nuint>)NativeLibrary.GetExport(_library, "C_GetFunctionList");
        void* list;
        Check("C_GetFunctionList", getFunctionList(&list));
        _f = (FunctionList*)list;
        var args = new InitializeArgs { Flags = OsLocking };
        var code = _f->Initialize(&args);
        if (code == Ok) return;
        GiveBack();
        throw new Pkcs11Exception("C_Initialize", code);
    }

    /// <summary>Copies that are loaded and not initialised. A module is never unloaded (its threads and handlers may not know), so each attempt to reach an HSM that is away would keep one more.</summary>
    private static readonly ConcurrentDictionary<string, ConcurrentBag<nint>> Unused = new();

    private void GiveBack() => Unused.GetOrAdd(_module, _ => new()).Add(_library);

    /// <summary>Opens a session on the token of that label and logs in. The PIN is wiped from our memory afterwards.</summary>
    internal void Open(string tokenLabel, string pinFile, bool readWrite)
    {
        nuint session;
        Check("C_OpenSession", _f->OpenSession(SlotOf(tokenLabel), SerialSession | (readWrite ? ReadWriteSession : 0), null, null, &session));
        using var file = File.OpenHandle(pinFile);
        var pin = GC.AllocateArray<byte>(256, pinned: true);
        try
        {
            var length = RandomAccess.Read(file, pin, 0);
            nuint code;
            fixed (byte* p = pin) code = _f->Login(session, UserNormal, p, (nuint)length);
            if (code != UserAlreadyLoggedIn) Check("C_Login", code);
        }
        finally
        {
            CryptographicOperations.ZeroMemory(pin);
            WipeFreedBuffers();
        }
        _sessions[tokenLabel] = session;
    }

    /// <summary>
    /// A module that speaks to a remote HSM copies the PIN into a request buffer and frees it unwiped (p11-kit 0.24 does). Freed buffers wait in
    /// the allocator's lists of this thread: taking many blocks of each size takes them too, and wipes them. The key scan in the tests watches it.
    /// </summary>
    private static void WipeFreedBuffers()
    {
        const int blocks = 64, largest = 1024, step = 16;
        var taken = stackalloc void*[blocks];
        for (nuint size = step; size <= largest; size += step)
        {
            for (var i = 0; i < blocks; i++) taken[i] = NativeMemory.Alloc(size);
            for (var i = 0; i < blocks; i++) NativeMemory.Clear(taken[i], size);
            for (var i = 0; i < blocks; i++) NativeMemory.Free(taken[i]);
        }
    }

    /// <summary>The handle of the one object of that class and id. Throws when there is none, or more than one.</summary>
    internal nuint Find(HsmKey key, nuint objectClass)
    {
        var session = _sessions[key.Token];
        var id = key.Id;
        nuint count;
        var found = stackalloc nuint[2];
        fixed (byte* idBytes = id)
        {
            var template = stackalloc AttributeValue[2];
            template[0] = new() { Type = (nuint)Cryptoki.Attribute.Class, Value = &objectClass, Length = (nuint)sizeof(nuint) };
            template[1] = new() { Type = (nuint)Cryptoki.Attribute.Id, Value = idBytes, Length = (nuint)id.Length };
            Check("C_FindObjectsInit", _f->FindObjectsInit(session, template, 2));
            Check("C_FindObjects", _f->FindObjects(session, found, 2, &count));
            Check("C_FindObjectsFinal", _f->FindObjectsFinal(session));
        }
        return count == 1 ? found[0] : throw new HsmKeyRefusedException($"{key}: {count} objects with this id on the token");
    }

    /// <summary>One attribute, never a secret one (the module refuses those).</summary>
    internal byte[] Read(HsmKey key, nuint handle, Cryptoki.Attribute attribute)
    {
        var value = new AttributeValue { Type = (nuint)attribute };
        Check("C_GetAttributeValue", _f->GetAttributeValue(_sessions[key.Token], handle, &value, 1));
        var bytes = new byte[(int)value.Length];
        fixed (byte* p = bytes)
        {
            value.Value = p;
            Check("C_GetAttributeValue", _f->GetAttributeValue(_sessions[key.Token], handle, &value, 1));
        }
        return bytes;
    }

    /// <summary>ECDSA over a digest: r ‖ s, the form of JOSE.</summary>
    internal byte[] SignEcdsa(HsmKey key, nuint handle, ReadOnlySpan<byte> digest)
    {
        var mechanism = new Mechanism { Type = MechanismEcdsa };
        Check("C_SignInit", _f->SignInit(_sessions[key.Token], &mechanism, handle));
        var signature = new byte[64];
        nuint length = 64;
        fixed (byte* d = digest, s = signature) Check("C_Sign", _f->Sign(_sessions[key.Token], d, (nuint)digest.Length, s, &length));
        return length == 64 ? signature : throw new Pkcs11Exception($"C_Sign: {length} bytes instead of 64");
    }

    /// <summary>Makes a P-256 pair whose private half can only sign and never leaves the token.</summary>
    internal void GenerateSigningKey(HsmKey key, string label)
    {
        byte yes = 1, no = 0;
        var id = key.Id;
        var name = Encoding.UTF8.GetBytes(label);
        byte[] p256 = [0x06, 0x08, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x03, 0x01, 0x07];
        fixed (byte* idBytes = id, nameBytes = name, curve = p256)
        {
            AttributeValue Of(Cryptoki.Attribute type, byte* value, int length) => new() { Type = (nuint)type, Value = value, Length = (nuint)length };
            var (on, off) = ((nint)(&yes), (nint)(&no));
            AttributeValue Flag(Cryptoki.Attribute type, bool set) => Of(type, (byte*)(set ? on : off), 1);
            AttributeValue[] common = [Flag(Cryptoki.Attribute.Token, true), Of(Cryptoki.Attribute.Id, idBytes, id.Length), Of(Cryptoki.Attribute.Label, nameBytes, name.Length)];
            AttributeValue[] publicKey = [.. common, Of(Cryptoki.Attribute.EcParams, curve, p256.Length), Flag(Cryptoki.Attribute.Verify, true), Flag(Cryptoki.Attribute.Encrypt, false), Flag(Cryptoki.Attribute.Wrap, false)];
            AttributeValue[] privateKey = [.. common, Flag(Cryptoki.Attribute.Private, true), Flag(Cryptoki.Attribute.Sensitive, true), Flag(Cryptoki.Attribute.Extractable, false),
                Flag(Cryptoki.Attribute.Sign, true), Flag(Cryptoki.Attribute.SignRecover, false), Flag(Cryptoki.Attribute.Decrypt, false), Flag(Cryptoki.Attribute.Unwrap, false), Flag(Cryptoki.Attribute.Derive, false), Flag(Cryptoki.Attribute.Modifiable, false)];
            var mechanism = new Mechanism { Type = MechanismEcKeyPairGen };
            nuint publicHandle, privateHandle;
            fixed (AttributeValue* pub = publicKey, priv = privateKey)
                Check("C_GenerateKeyPair", _f->GenerateKeyPair(_sessions[key.Token], &mechanism, pub, (nuint)publicKey.Length, priv, (nuint)privateKey.Length, &publicHandle, &privateHandle));
        }
    }

    /// <summary>HMAC with SHA-256: 32 bytes.</summary>
    internal byte[] Mac(HsmKey key, nuint handle, ReadOnlySpan<byte> data)
    {
        var mechanism = new Mechanism { Type = MechanismSha256Hmac };
        Check("C_SignInit", _f->SignInit(_sessions[key.Token], &mechanism, handle));
        var mac = new byte[32];
        nuint length = 32;
        fixed (byte* d = data, m = mac) Check("C_Sign", _f->Sign(_sessions[key.Token], d, (nuint)data.Length, m, &length));
        return length == 32 ? mac : throw new Pkcs11Exception($"C_Sign: {length} bytes instead of 32");
    }

    /// <summary>Makes a secret of 32 bytes that can only make codes (HMAC) and never leaves the token.</summary>
    internal void GenerateMacKey(HsmKey key, string label)
    {
        byte yes = 1, no = 0;
        nuint length = 32, type = GenericSecret;
        var (id, name) = (key.Id, Encoding.UTF8.GetBytes(label));
        fixed (byte* idBytes = id, nameBytes = name)
        {
            AttributeValue Of(Cryptoki.Attribute attribute, void* value, int size) => new() { Type = (nuint)attribute, Value = value, Length = (nuint)size };
            var (on, off) = ((nint)(&yes), (nint)(&no));
            AttributeValue Flag(Cryptoki.Attribute attribute, bool set) => Of(attribute, (byte*)(set ? on : off), 1);
            AttributeValue[] template = [Of(Cryptoki.Attribute.KeyType, &type, sizeof(nuint)), Of(Cryptoki.Attribute.ValueLength, &length, sizeof(nuint)), Of(Cryptoki.Attribute.Id, idBytes, id.Length), Of(Cryptoki.Attribute.Label, nameBytes, name.Length),
                Flag(Cryptoki.Attribute.Token, true), Flag(Cryptoki.Attribute.Private, true), Flag(Cryptoki.Attribute.Sensitive, true), Flag(Cryptoki.Attribute.Extractable, false), Flag(Cryptoki.Attribute.Sign, true), Flag(Cryptoki.Attribute.Verify, false),
                Flag(Cryptoki.Attribute.Encrypt, false), Flag(Cryptoki.Attribute.Decrypt, false), Flag(Cryptoki.Attribute.Wrap, false), Flag(Cryptoki.Attribute.Unwrap, false), Flag(Cryptoki.Attribute.Derive, false), Flag(Cryptoki.Attribute.Modifiable, false)];
            var mechanism = new Mechanism { Type = MechanismGenericSecretKeyGen };
            nuint handle;
            fixed (AttributeValue* t = template) Check("C_GenerateKey", _f->GenerateKey(_sessions[key.Token], &mechanism, t, (nuint)template.Length, &handle));
        }
    }

    /// <summary>Finalises this instance; the loaded copy waits for the next one.</summary>
    public void Dispose()
    {
        if (_disposed) return;
        _disposed = true;
        if (_f->Finalize(null) == Ok) GiveBack();
    }

    private nuint SlotOf(string label)
    {
        nuint count;
        Check("C_GetSlotList", _f->GetSlotList(1, null, &count));
        var slots = new nuint[(int)count];
        fixed (nuint* s = slots) Check("C_GetSlotList", _f->GetSlotList(1, s, &count));
        foreach (var slot in slots.AsSpan(0, (int)count))
        {
            TokenInfo info;
            if (_f->GetTokenInfo(slot, &info) == Ok && Encoding.UTF8.GetString(info.Label, 32).TrimEnd() == label) return slot;
        }
        throw new Pkcs11Exception($"no token labelled {label}");
    }

    private static nint LoadCopy(string module)
    {
        var copy = Path.Combine(Path.GetTempPath(), $"accessbroker-{Path.GetRandomFileName()}.so");
        File.Copy(module, copy);
        try { return NativeLibrary.Load(copy); }
        finally { File.Delete(copy); }
    }

    private static void Check(string function, nuint code) { if (code != Ok) throw new Pkcs11Exception(function, code); }

    [DllImport("libc", CharSet = CharSet.Ansi, BestFitMapping = false, ThrowOnUnmappableChar = true)]
#pragma warning disable SYSLIB1054 // One call; the source generator would want unsafe marshalling here for no gain.
    [DefaultDllImportSearchPaths(DllImportSearchPath.System32)]
    private static extern int setenv(string name, string value, int overwrite);
#pragma warning restore SYSLIB1054
}
