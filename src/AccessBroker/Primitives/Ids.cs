using System.Diagnostics.CodeAnalysis;
using System.Security.Claims;

namespace AccessBroker.Primitives;

/// <summary>An identifier that is stored and shown as text.</summary>
public interface IId
{
    /// <summary>1 to 64 characters of a-z, A-Z, 0-9, '-', '_', '.'.</summary>
    string Value { get; }
}

/// <summary>The one form every identifier of ours has.</summary>
public static class IdForm
{
    /// <summary>True for 1 to 64 of a-z, A-Z, 0-9, -, _, . and nothing else.</summary>
    public static bool Fits([NotNullWhen(true)] string? text) =>
        text is { Length: >= 1 and <= 64 } && text.All(c => char.IsAsciiLetterOrDigit(c) || c is '-' or '_' or '.');

    internal static string Require(string text) => Fits(text) ? text : throw new FormatException("not an identifier: 1 to 64 of a-z A-Z 0-9 - _ .");
}

/// <summary>A counter terminal (端末) of the register.</summary>
public readonly record struct TerminalId : IId, IParsable<TerminalId>
{
    private readonly string? _value;
    private TerminalId(string value) => _value = value;
    /// <inheritdoc/>
    public string Value => _value ?? throw new InvalidOperationException("no terminal id");
    /// <summary>Throws <see cref="FormatException"/> on anything that is not an identifier.</summary>
    public static TerminalId Parse(string s) => new(IdForm.Require(s));
    static TerminalId IParsable<TerminalId>.Parse(string s, IFormatProvider? provider) => Parse(s);
    /// <inheritdoc/>
    public static bool TryParse([NotNullWhen(true)] string? s, IFormatProvider? provider, out TerminalId result)
    {
        result = IdForm.Fits(s) ? new(s) : default;
        return IdForm.Fits(s);
    }
    /// <inheritdoc/>
    public override string ToString() => _value ?? "";
}

/// <summary>A natural person. Never reused. <clause>MIC 5.4(2)①</clause></summary>
public readonly record struct PersonId : IId, IParsable<PersonId>
{
    private readonly string? _value;
    private PersonId(string value) => _value = value;
    /// <inheritdoc/>
    public string Value => _value ?? throw new InvalidOperationException("no person id");
    /// <summary>Throws <see cref="FormatException"/> on anything that is not an identifier.</summary>
    public static PersonId Parse(string s) => new(IdForm.Require(s));
    static PersonId IParsable<PersonId>.Parse(string s, IFormatProvider? provider) => Parse(s);
    /// <inheritdoc/>
    public static bool TryParse([NotNullWhen(true)] string? s, IFormatProvider? provider, out PersonId result)
    {
        result = IdForm.Fits(s) ? new(s) : default;
        return IdForm.Fits(s);
    }
    /// <summary>The person behind a signed-in principal. Throws <see cref="InvalidOperationException"/> when nobody is signed in.</summary>
    public static PersonId Of(ClaimsPrincipal user) => Parse(user.FindFirstValue("sub") ?? throw new InvalidOperationException("nobody is signed in"));
    /// <inheritdoc/>
    public override string ToString() => _value ?? "";
}

/// <summary>An operator card (操作識別カード): the GUID of its CHUID, 32 hex digits.</summary>
public readonly record struct CardId : IId, IParsable<CardId>
{
    private readonly string? _value;
    private CardId(string value) => _value = value;
    /// <inheritdoc/>
    public string Value => _value ?? throw new InvalidOperationException("no card id");
    /// <summary>Throws <see cref="FormatException"/> on anything that is not an identifier.</summary>
    public static CardId Parse(string s) => new(IdForm.Require(s));
    static CardId IParsable<CardId>.Parse(string s, IFormatProvider? provider) => Parse(s);
    /// <inheritdoc/>
    public static bool TryParse([NotNullWhen(true)] string? s, IFormatProvider? provider, out CardId result)
    {
        result = IdForm.Fits(s) ? new(s) : default;
        return IdForm.Fits(s);
    }
    /// <inheritdoc/>
    public override string ToString() => _value ?? "";
}

/// <summary>A sign-in session at a terminal; the <c>sid</c> of OpenID Connect. Not a secret.</summary>
public readonly record struct SessionId : IId, IParsable<SessionId>
{
    private readonly string? _value;
    private SessionId(string value) => _value = value;
    /// <inheritdoc/>
    public string Value => _value ?? throw new InvalidOperationException("no session id");
    /// <summary>A new, random id.</summary>
    public static SessionId New() => new(Secret.New(16));
    /// <summary>Throws <see cref="FormatException"/> on anything that is not an identifier.</summary>
    public static SessionId Parse(string s) => new(IdForm.Require(s));
    static SessionId IParsable<SessionId>.Parse(string s, IFormatProvider? provider) => Parse(s);
    /// <inheritdoc/>
    public static bool TryParse([NotNullWhen(true)] string? s, IFormatProvider? provider, out SessionId result)
    {
        result = IdForm.Fits(s) ? new(s) : default;
        return IdForm.Fits(s);
    }
    /// <inheritdoc/>
    public override string ToString() => _value ?? "";
}
