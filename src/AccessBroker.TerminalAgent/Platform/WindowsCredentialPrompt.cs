using System.Runtime.InteropServices;
using System.Runtime.Versioning;
using System.Security.Cryptography;

namespace AccessBroker.TerminalAgent.Platform;

/// <summary>The Windows credential dialog (CredUIPromptForWindowsCredentials). Compiled and its layout tested here; not run here.</summary>
[SupportedOSPlatform("windows")]
internal sealed unsafe partial class WindowsCredentialPrompt : IPinPrompt
{
    /// <summary>CREDUI_INFOW; size 40 on 64-bit Windows.</summary>
    [StructLayout(LayoutKind.Sequential)]
    internal struct UiInfo
    {
        internal int Size;
        internal nint Parent;
        internal char* Message;
        internal char* Caption;
        internal nint Banner;
    }

    private const uint Generic = 0x1, Cancelled = 1223;
    private const int MaxText = 256;

    public Task<byte[]?> AskAsync(PinQuestion question, CancellationToken ct) => Task.Run(() => Ask(question), ct);

    private static byte[]? Ask(PinQuestion question)
    {
        uint package = 0, blobSize;
        var save = 0;
        void* blob;
        fixed (char* message = $"{question.Error}\n{question.Description}\n{question.Prompt}".Trim(), caption = "AccessBroker")
        {
            var info = new UiInfo { Size = sizeof(UiInfo), Message = message, Caption = caption };
            var code = CredUIPromptForWindowsCredentialsW(&info, 0, &package, null, 0, &blob, &blobSize, &save, Generic);
            if (code == Cancelled) return null;
            if (code != 0) throw new IOException($"CredUIPromptForWindowsCredentials: {code}");
        }
        char* user = stackalloc char[MaxText], domain = stackalloc char[MaxText], password = stackalloc char[MaxText];
        uint userLength = MaxText, domainLength = MaxText, passwordLength = MaxText;
        try
        {
            if (CredUnPackAuthenticationBufferW(0, blob, blobSize, user, &userLength, domain, &domainLength, password, &passwordLength) == 0) return null;
            var pin = GC.AllocateArray<byte>((int)passwordLength - 1, pinned: true);
            for (var i = 0; i < pin.Length; i++) pin[i] = (byte)password[i];
            return pin;
        }
        finally
        {
            CryptographicOperations.ZeroMemory(new Span<byte>(password, MaxText * sizeof(char)));
            CryptographicOperations.ZeroMemory(new Span<byte>(blob, (int)blobSize));
            CoTaskMemFree(blob);
        }
    }

    [LibraryImport("credui.dll")] private static partial uint CredUIPromptForWindowsCredentialsW(UiInfo* info, uint error, uint* package, void* inBlob, uint inSize, void** outBlob, uint* outSize, int* save, uint flags);
    [LibraryImport("credui.dll")] private static partial int CredUnPackAuthenticationBufferW(uint flags, void* blob, uint size, char* user, uint* userLength, char* domain, uint* domainLength, char* password, uint* passwordLength);
    [LibraryImport("ole32.dll")] private static partial void CoTaskMemFree(void* memory);
}
