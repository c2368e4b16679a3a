using AccessBroker.Assurance;
using AccessBroker.Database;
using AccessBroker.Primitives;
using Npgsql;

namespace AccessBroker.SignIn;

/// <summary>A sign-in under way.</summary>
internal sealed record Transaction(string Id, string Address, int Number, string? Client, string ClientName, string ReturnPath, string State,
    TerminalId? Terminal, string? Epoch, string? Nonce, CardId? Card, PersonId? Person, string? Told, int Failures)
{
    /// <summary>The <c>acr</c> that the relying party asks for; null: none.</summary>
    internal Acr? Wanted { get; init; }
    /// <summary>What was proven; null: nothing yet.</summary>
    internal string? Acr { get; init; }
    /// <summary>The hash of the operation this proof is for; null: it is a sign-in.</summary>
    internal string? Operation { get; init; }
    /// <summary>RFC 8176.</summary>
    internal IReadOnlyList<string> Amr { get; init; } = [];
    /// <summary>The passkey's model is known and trusted.</summary>
    internal bool Attested { get; init; }
}

/// <summary>SQL of the transactions. Every step is a conditional update: whoever comes second finds nothing.</summary>
internal static class TransactionStore
{
    internal static Question<Transaction?> Find(string id, byte[] browser, string address) => Question.First($"""
        select id, address, number, client, client_name, return_path, state, terminal, epoch, nonce, card, person, told, failures, wanted, acr, amr, attested, operation
        from sign_in.transactions where id = {id} and browser_hash = {browser} and address = {address} and expires_at > clock_timestamp()
        """, Read);

    /// <summary>Takes a handle: single-use. Null when unknown, used or over.</summary>
    internal static Question<Transaction?> TakeHandle(string handle, TerminalId terminal, string epoch) => Question.First($"""
        update sign_in.transactions set state = 'claimed', handle_hash = null, terminal = {terminal}, epoch = {epoch}, nonce = {Secret.New()}, card = null, person = null, failures = 0, approval_certificate = null, approval_signed = null, approval_signature = null, approval_key = null, approval_authenticator = null, approval_client = null, changed_at = clock_timestamp()
        where handle_hash = {Secret.Hash(handle)} and state = 'handed' and handle_expires_at > clock_timestamp() and expires_at > clock_timestamp()
        returning id, address, number, client, client_name, return_path, state, terminal, epoch, nonce, card, person, told, failures, wanted, acr, amr, attested, operation
        """, Read);

    /// <summary>The transaction this terminal has claimed and that is in one of these states, locked for the rest of the unit of work; else null.</summary>
    internal static Question<Transaction?> Lock(string id, TerminalId terminal, params string[] states) => Question.First($"""
        select id, address, number, client, client_name, return_path, state, terminal, epoch, nonce, card, person, told, failures, wanted, acr, amr, attested, operation
        from sign_in.transactions where id = {id} and terminal = {terminal} and state = any({states}) and expires_at > clock_timestamp() for update
        """, Read);

    /// <summary>The transaction of a browser in that state, locked for the rest of the unit of work; else null.</summary>
    internal static Question<Transaction?> LockOfBrowser(string id, byte[] browser, string address, string state) => Question.First($"""
        select id, address, number, client, client_name, return_path, state, terminal, epoch, nonce, card, person, told, failures, wanted, acr, amr, attested, operation
        from sign_in.transactions where id = {id} and browser_hash = {browser} and address = {address} and state = {state} and expires_at > clock_timestamp() for update
        """, Read);

    /// <summary>The operation in its canonical form.</summary>
    internal static Question<string?> OperationOf(string id) => Question.First($"select operation_text from sign_in.transactions where id = {id} and operation_text is not null", r => r.GetString(0));

    /// <summary>Everything is proven: the code that the page must bring stands in the row.</summary>
    /// <param name="password">The mark of the proven password, kept in <c>told</c>: no page shows that in this state.</param>
    internal static void Prove(UnitOfWork work, Transaction transaction, CardId card, PersonId person, IReadOnlyCollection<Proof> proofs, bool attested, Acr needed, string code, TimeSpan lifetime, string? password = null) => work.Write($"""
        update sign_in.transactions set state = 'proven', card = {card}, person = {person}, code_hash = {Secret.Hash(code)}, code_expires_at = clock_timestamp() + {lifetime}, told = {password}, changed_at = clock_timestamp(),
            acr = {(needed == Assurance.Acr.Privileged ? Assurance.Acr.Privileged : proofs.Contains(Proof.CardPin) ? Assurance.Acr.Card : Assurance.Acr.Multi).Name()}, amr = {Factors.Amr(proofs).ToArray()}, attested = {attested}
        where id = {transaction.Id}
        """);

    internal static void Move(UnitOfWork work, string id, string state, string? told) =>
        work.Write($"update sign_in.transactions set state = {state}, told = {told}, changed_at = clock_timestamp() where id = {id}");

    internal static Transaction Read(NpgsqlDataReader r)
    {
        string? Text(int column) => r.IsDBNull(column) ? null : r.GetString(column);
        return new(r.GetString(0), r.GetString(1), r.GetInt32(2), Text(3), r.GetString(4), r.GetString(5), r.GetString(6),
            TerminalId.TryParse(Text(7), null, out var terminal) ? terminal : null, Text(8), Text(9),
            CardId.TryParse(Text(10), null, out var card) ? card : null, PersonId.TryParse(Text(11), null, out var person) ? person : null, Text(12), r.GetInt32(13))
        { Wanted = Text(14) is { } wanted ? AcrNames.Parse(wanted) : null, Acr = Text(15), Amr = r.IsDBNull(16) ? [] : r.GetFieldValue<string[]>(16), Attested = r.GetBoolean(17), Operation = Text(18) };
    }
}
