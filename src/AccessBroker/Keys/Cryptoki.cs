using System.Runtime.InteropServices;

namespace AccessBroker.Keys;

/// <summary>PKCS#11 2.40 (OASIS): the structures and the part of the function list that we call. Layout of LP64 systems: CK_ULONG is 8 bytes, natural alignment.</summary>
/// <remarks>NOTE: Windows modules use packed(1) structures and 4-byte CK_ULONG; the broker runs on Linux only.</remarks>
internal static unsafe class Cryptoki
{
    internal const nuint Ok = 0x0, DeviceError = 0x30, AttributeSensitive = 0x11, AttributeTypeInvalid = 0x12, UserAlreadyLoggedIn = 0x100;
    internal const nuint ClassPublicKey = 2, ClassPrivateKey = 3, ClassSecretKey = 4, GenericSecret = 0x10;
    internal const nuint MechanismEcKeyPairGen = 0x1040, MechanismEcdsa = 0x1041, MechanismGenericSecretKeyGen = 0x350, MechanismSha256Hmac = 0x251;
    internal const nuint OsLocking = 2, SerialSession = 4, ReadWriteSession = 2, UserNormal = 1;

    internal enum Attribute : ulong
    {
        Class = 0x0, Token = 0x1, Private = 0x2, Label = 0x3, KeyType = 0x100, Id = 0x102, Sensitive = 0x103, Encrypt = 0x104, Decrypt = 0x105,
        Wrap = 0x106, Unwrap = 0x107, Sign = 0x108, SignRecover = 0x109, Verify = 0x10A, Derive = 0x10C, ValueLength = 0x161, Extractable = 0x162, Local = 0x163,
        NeverExtractable = 0x164, AlwaysSensitive = 0x165, Modifiable = 0x170, EcParams = 0x180, EcPoint = 0x181,
    }

    [StructLayout(LayoutKind.Sequential)] internal struct Version { internal byte Major, Minor; }
    [StructLayout(LayoutKind.Sequential)] internal struct AttributeValue { internal nuint Type; internal void* Value; internal nuint Length; }
    [StructLayout(LayoutKind.Sequential)] internal struct Mechanism { internal nuint Type; internal void* Parameter; internal nuint ParameterLength; }
    [StructLayout(LayoutKind.Sequential)] internal struct InitializeArgs { internal void* Create, Destroy, Lock, Unlock; internal nuint Flags; internal void* Reserved; }
    [StructLayout(LayoutKind.Sequential)]
    internal struct TokenInfo
    {
        internal fixed byte Label[32]; internal fixed byte Manufacturer[32]; internal fixed byte Model[16]; internal fixed byte Serial[16];
        internal nuint Flags, MaxSessions, Sessions, MaxRwSessions, RwSessions, MaxPin, MinPin, TotalPublic, FreePublic, TotalPrivate, FreePrivate;
        internal Version Hardware, Firmware; internal fixed byte Utc[16];
    }

    /// <summary>CK_FUNCTION_LIST: the version, then 68 pointers in the order of the standard. Those we do not call are untyped.</summary>
    [StructLayout(LayoutKind.Sequential)]
    internal struct FunctionList
    {
        internal Version Version;
        internal delegate* unmanaged<void*, nuint> Initialize;
        internal delegate* unmanaged<void*, nuint> Finalize;
        internal void* GetInfo, GetFunctionList;
        internal delegate* unmanaged<byte, nuint*, nuint*, nuint> GetSlotList;
        internal void* GetSlotInfo;
        internal delegate* unmanaged<nuint, TokenInfo*, nuint> GetTokenInfo;
        internal void* GetMechanismList, GetMechanismInfo, InitToken, InitPin, SetPin;
        internal delegate* unmanaged<nuint, nuint, void*, void*, nuint*, nuint> OpenSession;
        internal void* CloseSession, CloseAllSessions, GetSessionInfo, GetOperationState, SetOperationState;
        internal delegate* unmanaged<nuint, nuint, byte*, nuint, nuint> Login;
        internal void* Logout, CreateObject, CopyObject;
        internal delegate* unmanaged<nuint, nuint, nuint> DestroyObject;
        internal void* GetObjectSize;
        internal delegate* unmanaged<nuint, nuint, AttributeValue*, nuint, nuint> GetAttributeValue;
        internal void* SetAttributeValue;
        internal delegate* unmanaged<nuint, AttributeValue*, nuint, nuint> FindObjectsInit;
        internal delegate* unmanaged<nuint, nuint*, nuint, nuint*, nuint> FindObjects;
        internal delegate* unmanaged<nuint, nuint> FindObjectsFinal;
        internal void* EncryptInit, Encrypt, EncryptUpdate, EncryptFinal, DecryptInit, Decrypt, DecryptUpdate, DecryptFinal;
        internal void* DigestInit, Digest, DigestUpdate, DigestKey, DigestFinal;
        internal delegate* unmanaged<nuint, Mechanism*, nuint, nuint> SignInit;
        internal delegate* unmanaged<nuint, byte*, nuint, byte*, nuint*, nuint> Sign;
        internal void* SignUpdate, SignFinal, SignRecoverInit, SignRecover, VerifyInit, Verify, VerifyUpdate, VerifyFinal, VerifyRecoverInit, VerifyRecover;
        internal void* DigestEncryptUpdate, DecryptDigestUpdate, SignEncryptUpdate, DecryptVerifyUpdate;
        internal delegate* unmanaged<nuint, Mechanism*, AttributeValue*, nuint, nuint*, nuint> GenerateKey;
        internal delegate* unmanaged<nuint, Mechanism*, AttributeValue*, nuint, AttributeValue*, nuint, nuint*, nuint*, nuint> GenerateKeyPair;
        internal void* WrapKey, UnwrapKey, DeriveKey, SeedRandom, GenerateRandom, GetFunctionStatus, CancelFunction, WaitForSlotEvent;
    }
}

/// <summary>A PKCS#11 call that did not return CKR_OK.</summary>
internal sealed class Pkcs11Exception : Exception
{
    public Pkcs11Exception() { }
    public Pkcs11Exception(string message) : base(message) { }
    public Pkcs11Exception(string message, Exception inner) : base(message, inner) { }
    internal Pkcs11Exception(string function, nuint code) : base($"{function}: CKR 0x{code:x}") => Code = code;
    internal nuint Code { get; }
}
