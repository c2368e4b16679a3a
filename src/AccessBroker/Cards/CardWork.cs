using System.Text.Json;
using System.Text.Json.Nodes;
using AccessBroker.Database;
using AccessBroker.Primitives;

namespace AccessBroker.Cards;

/// <summary>Work on one card at one terminal: the agent asks what to do next, and says what came of it.</summary>
/// <param name="Step">How many rounds are done.</param>
/// <param name="Data">What the next round needs; never a secret.</param>
internal sealed record CardWork(string Id, string Kind, long? Request, PersonId Person, CardId? Card, PersonId StartedBy, TerminalId Terminal, string State, int Step, JsonObject Data, string? Told)
{
    /// <summary>Ours: from the click to the end of the work, 15 min; without a word from the agent, 5 min.</summary>
    internal static readonly TimeSpan Lifetime = TimeSpan.FromMinutes(15), Silence = TimeSpan.FromMinutes(5);

    internal static string Topic(string id) => $"card-work:{id}";

    internal static string Open(UnitOfWork work, string kind, long? request, PersonId person, CardId? card, PersonId by, TerminalId terminal, JsonObject data)
    {
        var id = Secret.New(16);
        work.Write($"""
            insert into cards.works (id, kind, request, person, card, started_by, terminal, state, data, expires_at)
            values ({id}, {kind}, {request?.ToString(System.Globalization.CultureInfo.InvariantCulture)}::bigint, {person}, {card}, {by}, {terminal}, 'open', {data.ToJsonString():json}, clock_timestamp() + {Lifetime})
            """);
        return id;
    }

    internal static Question<CardWork?> Find(string id, PersonId by, TerminalId terminal) => Question.First($"{Columns()} where id = {id} and started_by = {by} and terminal = {terminal} and expires_at > clock_timestamp()", Read);

    /// <summary>The running work of this terminal, locked for the rest of the unit of work.</summary>
    internal static Question<CardWork?> Lock(string id, TerminalId terminal) => Question.First($"{Columns()} where id = {id} and terminal = {terminal} and state = 'running' and expires_at > clock_timestamp() for update", Read);

    /// <summary>A running work, wherever, locked for the rest of the unit of work.</summary>
    internal static Question<List<CardWork>> Running(string id) => Question.All($"{Columns()} where id = {id} and state = 'running' for update", Read);

    /// <summary>Single use: the statement that finds the handle takes it.</summary>
    internal static Question<CardWork?> Take(string handle, TerminalId terminal) => Question.First($"""
        update cards.works set state = 'running', handle_hash = null, touched_at = clock_timestamp()
        where handle_hash = {Secret.Hash(handle)} and terminal = {terminal} and state = 'handed' and touched_at > clock_timestamp() - interval '30 seconds' and expires_at > clock_timestamp()
        returning id, kind, request, person, card, started_by, terminal, state, step, data, told
        """, Read);

    internal static void Move(UnitOfWork work, CardWork done, string state, string? told) => work.Write($"""
        update cards.works set state = {state}, told = {told}, step = {done.Step}, card = {done.Card}, data = {done.Data.ToJsonString():json}, touched_at = clock_timestamp() where id = {done.Id}
        """);

    private static Sql Columns() => $"select id, kind, request, person, card, started_by, terminal, state, step, data, told from cards.works";

    internal static CardWork Read(Npgsql.NpgsqlDataReader r) => new(r.GetString(0), r.GetString(1), r.IsDBNull(2) ? null : r.GetInt64(2), PersonId.Parse(r.GetString(3)), r.IsDBNull(4) ? null : CardId.Parse(r.GetString(4)), PersonId.Parse(r.GetString(5)), TerminalId.Parse(r.GetString(6)),
        r.GetString(7), r.GetInt32(8), JsonNode.Parse(r.GetString(9))!.AsObject(), r.IsDBNull(10) ? null : r.GetString(10));

    /// <summary>What became of it, for the page, in Japanese.</summary>
    internal static string Sentence(string? told) => told switch
    {
        "personalised" => "カードができました。続けて本人に手渡してください。",
        "handed-over" => "手渡しが終わりました。カードは有効です(サインインには、端末の利用許可も要ります)。",
        "pin-set" => "新しい暗証番号が設定されました。",
        "pin-changed" => "暗証番号を変更しました。",
        "no-card" => "カードが読み取り機に入っていません。カードを入れて、もう一度始めてください。",
        "no-reader" => "発行用の読み取り機が見つかりません。つながっているか確かめてください。",
        "card-removed" => "途中でカードが抜かれました。",
        "spoiled" => "途中で中断したため、このカードは使えません。「作成失敗(要廃棄)」として管理簿に記録しました。別の白紙カードで作り直し、このカードは廃棄してください。",
        "cancelled" => "取り消されました。もう一度始められます。",
        "wrong-card" => "入っているカードは、対象のカードではありません。",
        "registered-already" => "このカードはすでに登録されています。白紙のカードを入れてください。",
        "foreign-card" => "このカードは白紙ではなく、この市のカードでもありません。変更していません。",
        "wrong-pin" => "現在の暗証番号が違います。",
        "locked" => "暗証番号の誤りが続いたため、しばらく変更できません。",
        "card-blocked" => "暗証番号の誤りが続いたため、カードが止まっています。暗証番号管理者へ連絡してください。",
        "hand-over-blocked" => "手渡しの条件が整っていません。古いカードの回収と、本人の在籍を確かめてください。",
        "printer-failed" => "封緘用紙に印刷できませんでした。プリンターを確かめて、もう一度始めてください。",
        "timed-out" => "時間切れです。もう一度始めてください。",
        _ => "カードを読み取れませんでした。差し込み直して、もう一度始めてください。",
    };
}

/// <summary>What the agent is to do next with the card.</summary>
internal sealed record CardCommands(JsonArray Commands, CardWork Work)
{
    internal static CardCommands Of(CardWork work, params ReadOnlySpan<JsonObject> commands)
    {
        var array = new JsonArray();
        foreach (var command in commands) array.Add((JsonNode)command);
        return new(array, work with { Step = work.Step + 1 });
    }

    /// <summary>What became of it, when nothing more is to be done; null: there is more.</summary>
    internal string? Told { get; init; }

    internal static CardCommands Finished(CardWork work, string told) => new([], work with { Step = work.Step + 1 }) { Told = told };
}

/// <summary>The work cannot go on; the message is what the page is told.</summary>
internal sealed class CardWorkException : Exception
{
    public CardWorkException() { }
    public CardWorkException(string told) : base(told) { }
    public CardWorkException(string told, Exception inner) : base(told, inner) { }
}

/// <summary>One kind of work: round by round, what the card must do. A round is committed before its commands go out.</summary>
internal abstract class CardScript
{
    /// <summary>Name of the kind.</summary>
    internal abstract string Kind { get; }
    /// <summary>True: on the reader for cards that are being issued; false: on the terminal's own.</summary>
    internal virtual bool OnIssuingReader => true;
    /// <summary>What the prompt says, in Japanese.</summary>
    internal virtual string Title => "";

    /// <summary>The next round. <paramref name="results"/> are those of the last round's commands. Throws <see cref="CardWorkException"/>.</summary>
    internal abstract Task<CardCommands> NextAsync(UnitOfWork work, CardWork now, IReadOnlyList<JsonElement> results, CancellationToken ct);

    /// <summary>The work broke off: what must be put right in the register.</summary>
    internal virtual Task<string> BrokenOffAsync(UnitOfWork work, CardWork now, string cause, CancellationToken ct) => Task.FromResult(cause);

    protected static JsonObject Command(string name, params ReadOnlySpan<(string Name, JsonNode? Value)> arguments)
    {
        var command = new JsonObject { ["do"] = name };
        foreach (var (argument, value) in arguments) command[argument] = value;
        return command;
    }

    protected static JsonNode Bytes(byte[] bytes)
    {
        // Keys and PUKs pass through here on their way to the card: the array is wiped, the text lives as short as the message.
        var text = Convert.ToBase64String(bytes);
        System.Security.Cryptography.CryptographicOperations.ZeroMemory(bytes);
        return JsonValue.Create(text);
    }

    protected static byte[] Bytes(JsonElement result, string name, int most) =>
        result.TryGetProperty(name, out var value) && value.ValueKind == JsonValueKind.String && value.TryGetBytesFromBase64(out var bytes) && bytes.Length <= most ? bytes : throw new CardWorkException("card-unreadable");

    protected static bool Ok(JsonElement result) => result.TryGetProperty("ok", out var ok) && ok.ValueKind == JsonValueKind.True;

    protected static CardId ReadCard(JsonElement result) => CardId.TryParse(StrictJson.Text(result, "card"), null, out var card) ? card : throw new CardWorkException("card-unreadable");
}
