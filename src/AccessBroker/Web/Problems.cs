namespace AccessBroker.Web;

/// <summary>Errors for machines: RFC 9457 problem details with a stable code, and a sentence for whoever reads them.</summary>
public static class Problems
{
    /// <summary>One problem. <paramref name="trace"/>: the request id that stands in the log, for what the caller should report.</summary>
    public static IResult Json(int status, string code, string detail, string? trace = null) =>
        Results.Json(new { type = $"urn:accessbroker:problem:{code}", code, status, detail, trace }, contentType: "application/problem+json", statusCode: status);
}

/// <summary>The type whose resources hold the English texts; the Japanese text is the key.</summary>
public sealed class Text;
