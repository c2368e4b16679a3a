using System.Net;
using System.Net.Http.Json;
using System.Text.Json;
using System.Text.Json.Nodes;
using AccessBroker.Cards;
using AccessBroker.Database;
using AccessBroker.Passkeys;
using Microsoft.Extensions.DependencyInjection;
using Npgsql;

namespace AccessBroker.Tests.Support;

/// <summary>What the pages' scripts do with a passkey, without a screen.</summary>
internal static class PasskeySteps
{
    private static long _number = DateTimeOffset.UtcNow.ToUnixTimeMilliseconds();

    /// <summary>The next file of the metadata's publisher, with these models.</summary>
    internal static async Task<ImportMetadata.Result> ImportAsync(BrokerHost broker, IEnumerable<(Guid, byte[], string[])> models)
    {
        await using var services = CityServices.Of(broker, TimeProvider.System);
        await using var owner = new Store(NpgsqlDataSource.Create(broker.Environment()["Broker__DatabaseOwner"]));
        return await ImportMetadata.RunAsync(owner, services.GetRequiredService<CardChange>(), services.GetRequiredService<AccessBroker.Sessions.LiveSessions>(), TestMetadata.Write(Interlocked.Increment(ref _number), models), TestMetadata.Publisher.Root, TestMetadata.Signer, TimeProvider.System, default);
    }

    /// <summary>Signs in with a card and enrols the key; the status and the reason code of a refusal.</summary>
    internal static async Task<(HttpStatusCode Status, string Code)> EnrolAsync(BrokerHost broker, TestTerminal terminal, SoftKey key, Func<Task>? between = null, string card = "sato")
    {
        using var operator_ = await ConsoleBrowser.SignInAsync(broker, terminal, card);
        var begun = await PostAsync(broker, operator_.Http, "/passkeys/options", new { });
        if (!begun.Answer.TryGetProperty("options", out var options)) return (begun.Status, begun.Answer.GetProperty("code").GetString()!);
        if (between is not null) await between();
        var (status, answer) = await PostAsync(broker, operator_.Http, "/passkeys/register", new JsonObject { ["ceremony"] = begun.Answer.GetProperty("ceremony").GetString(), ["credential"] = key.Create(options, broker.Issuer), ["name"] = "青いキー" });
        return (status, status == HttpStatusCode.OK ? "" : answer.GetProperty("code").GetString()!);
    }

    internal static async Task<(HttpStatusCode Status, JsonElement Answer)> PostAsync(BrokerHost broker, HttpClient http, string path, object body)
    {
        using var request = new HttpRequestMessage(HttpMethod.Post, path) { Content = JsonContent.Create(body) };
        request.Headers.Add("Origin", broker.Issuer);
        using var response = await http.SendAsync(request);
        return (response.StatusCode, await response.Content.ReadFromJsonAsync<JsonElement>());
    }

    /// <summary>The agent claims, the key answers. The code, or the state of the refusal.</summary>
    internal static async Task<(string? Code, string State, string Transaction)> AnswerAsync(BrokerHost broker, TestTerminal terminal, TestBrowser browser, SoftKey key, Func<JsonObject, string, Task>? replay, params (string Name, string? Value)[] request)
    {
        return await AnswerOpenAsync(broker, terminal, browser, key, await browser.OpenAsync(request), replay);
    }

    /// <summary>The same for a transaction that is open already.</summary>
    internal static async Task<(string? Code, string State, string Transaction)> AnswerOpenAsync(BrokerHost broker, TestTerminal terminal, TestBrowser browser, SoftKey key, string transaction, Func<JsonObject, string, Task>? replay = null)
    {
        using (var seat = await terminal.SeatAsync(await browser.HandleAsync(transaction))) Assert.Equal(HttpStatusCode.OK, seat.StatusCode);
        var begun = await PostAsync(broker, browser.Http, $"/sign-in/{transaction}/passkey/options", new { });
        Assert.True(begun.Status == HttpStatusCode.OK, $"{begun.Status} {begun.Answer} {broker.Log}");
        var posted = new JsonObject { ["ceremony"] = begun.Answer.GetProperty("ceremony").GetString(), ["credential"] = key.Get(begun.Answer.GetProperty("options"), broker.Issuer) };
        var (status, answer) = await PostAsync(broker, browser.Http, $"/sign-in/{transaction}/passkey", posted);
        if (replay is not null) await replay(posted, transaction);
        return status == HttpStatusCode.OK ? (answer.GetProperty("code").GetString(), "proven", transaction) : (null, (await browser.StateAsync(transaction)).GetProperty("value").GetString()!, transaction);
    }
}
