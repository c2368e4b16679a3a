using System.Text.Json;

namespace CardSimulator;

/// <summary>The desk: a page and a small JSON interface to play the terminals with. Loopback and a UNIX socket only.</summary>
internal static class Desk
{
    private sealed record Insertion(string Card);
    private sealed record Digits(string Pin);
    private sealed record PlantedFault(Reader.Fault Kind, int After);

    /// <param name="Title">What the terminal is called.</param>
    /// <param name="Url">Where the terminal's browser starts.</param>
    internal sealed record Place(string Title, string Url);

    internal static void Map(WebApplication app, Drawer drawer, Reader[] readers, string ownOrigin, Place[] places)
    {
        var pads = readers.Select(_ => new PinPad()).ToArray();
        app.Use((context, next) => RefuseStrangers(context, next, ownOrigin));
        app.MapGet("/api/state", () => new
        {
            readers = readers.Select(r => new { r.Index, r.Card, r.Commands, place = r.Index < places.Length ? places[r.Index] : null, prompt = pads[r.Index].Current }),
            cards = drawer.Cards(),
        });
        app.MapPost("/api/cards", (Insertion blank) => { drawer.AddBlank(blank.Card); return Results.NoContent(); });
        app.MapPost("/api/readers/{index:int}/insert", (int index, Insertion insertion) => At(readers, index, r => InsertOnce(r, insertion.Card, readers, drawer)));
        app.MapPost("/api/readers/{index:int}/remove", (int index) => At(readers, index, r => r.Remove()));
        app.MapPost("/api/readers/{index:int}/fault", (int index, PlantedFault fault) => At(readers, index, r => r.Plant(fault.Kind, fault.After)));
        app.MapPost("/api/readers/{index:int}/pin", (int index, Digits digits) => At(readers, index, r => Type(pads[r.Index], digits.Pin)));
        app.MapPost("/api/readers/{index:int}/cancel", (int index) => At(readers, index, r => Type(pads[r.Index], null)));
        app.MapPost("/api/readers/{index:int}/prompt", async (int index, PinPad.Prompt prompt, HttpContext context) =>
            // Who asks gets the digits: programs of the agent's user only, by the socket.
            index < 0 || index >= pads.Length || context.Connection.LocalIpAddress is not null ? Results.NotFound()
            : await pads[index].AskAsync(prompt, context.RequestAborted) is { } pin ? Results.Json(new { pin }) : Results.NoContent());
        // One page per terminal, and one with all of them.
        app.MapGet("/{terminal:int:min(1)}", (int terminal) => terminal <= places.Length ? Results.File(Path.Combine(app.Environment.WebRootPath, "index.html"), "text/html; charset=utf-8") : Results.NotFound());
        app.UseDefaultFiles();
        app.UseStaticFiles();
    }

    private static IResult At(Reader[] readers, int index, Action<Reader> act)
    {
        if (index < 0 || index >= readers.Length) return Results.NotFound(new { code = "no-such-reader", error = $"読み取り機 {index + 1} はありません。" });
        act(readers[index]);
        return Results.NoContent();
    }

    private static void InsertOnce(Reader reader, string card, Reader[] readers, Drawer drawer)
    {
        lock (readers)
        {
            if (readers.FirstOrDefault(r => r.Card == card) is { } holder) throw new DeskException("card-elsewhere", $"カード {card} は読み取り機 {holder.Index + 1} に入っています。先に抜いてください。");
            reader.Insert(card, drawer);
        }
    }

    private static void Type(PinPad pad, string? digits)
    {
        if (!pad.Answer(digits)) throw new DeskException("nobody-asks", "いまは暗証番号を求められていません。");
    }

    /// <summary>A page of another origin must not play the terminal: exact Host, and for every POST exact Origin. The UNIX socket is for programs.</summary>
    private static async Task RefuseStrangers(HttpContext context, RequestDelegate next, string ownOrigin)
    {
        var overSocket = context.Connection.LocalIpAddress is null;
        var origin = context.Request.Headers.Origin.ToString();
        if (!overSocket && ($"http://{context.Request.Host}" != ownOrigin || (!HttpMethods.IsGet(context.Request.Method) && origin != ownOrigin)))
        {
            context.Response.StatusCode = StatusCodes.Status403Forbidden;
            await context.Response.WriteAsJsonAsync(new { code = "foreign-origin", error = $"この窓口シミュレーターは自分のページ({ownOrigin})からだけ操作できます。" });
            return;
        }
        context.Response.Headers.ContentSecurityPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
        context.Response.Headers.XContentTypeOptions = "nosniff";
        try { await next(context); }
        catch (Exception e) when (e is DeskException or BadHttpRequestException or JsonException)
        {
            context.Response.StatusCode = e is DeskException ? StatusCodes.Status409Conflict : StatusCodes.Status400BadRequest;
            await context.Response.WriteAsJsonAsync(e is DeskException wish ? new { code = wish.Code, error = wish.Message } : new { code = "malformed", error = "要求の形が正しくありません。" });
        }
    }
}
