using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using AccessBroker.TerminalAgent.Platform;

namespace AccessBroker.TerminalAgent;

/// <summary><c>enrol CODE</c>: makes the terminal's key and has it certified, once, with the code from the administrator.</summary>
internal static class EnrolTerminal
{
    private sealed record Enrolled(string Terminal, string Name, string Certificate);

    /// <summary>The name of the terminal. Throws <see cref="InvalidOperationException"/> when the broker refuses the code.</summary>
    internal static async Task<string> RunAsync(AgentOptions options, string code, CancellationToken ct)
    {
        using var key = TerminalKey.Create();
        var request = new CertificateRequest("CN=terminal", key, HashAlgorithmName.SHA256).CreateSigningRequestPem();
        using var handler = new SocketsHttpHandler();
        handler.SslOptions.RemoteCertificateValidationCallback = (_, presented, _, errors) => presented is not null && BrokerTrust.Accepts(options, new X509Certificate2(presented), errors);
        using var client = new HttpMessageInvoker(handler);
        using var message = new HttpRequestMessage(HttpMethod.Post, options.Broker + "/terminals/enrol") { Content = JsonContent.Create(new { code, certificationRequest = request }) };
        using var response = await client.SendAsync(message, ct);
        if (!response.IsSuccessStatusCode) throw new InvalidOperationException($"登録コードが受け付けられませんでした ({(int)response.StatusCode})。コードと、この端末のネットワークアドレスを確かめてください。");
        var enrolled = await response.Content.ReadFromJsonAsync<Enrolled>(ct) ?? throw new InvalidOperationException("the broker's answer is empty");
        TerminalKey.Keep(options.DataDirectory, key, enrolled.Certificate);
        return $"{enrolled.Terminal} {enrolled.Name}";
    }
}
