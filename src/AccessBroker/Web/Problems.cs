using System.Diagnostics;

namespace AccessBroker.Web;

/// <summary>Errors for machines: RFC 9457 problem details with a stable code, and a sentence for whoever reads them.</summary>
public static class Problems
{
    /// <summary>One problem.</summary>
    public static IResult Json(int status, string code, string detail) =>
        Results.Json(new { type = $"urn:accessbroker:problem:{code}", code, status, detail, trace = Activity.Current?.TraceId.ToString() }, contentType: "application/problem+json", statusCode: status);
}

/// <summary>The type whose resources hold the English texts; the Japanese text is the key.</summary>
public sealed class Text;
