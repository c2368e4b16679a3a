using AccessBroker.Database;
using AccessBroker.Primitives;
using Npgsql;

namespace AccessBroker.SignIn;

/// <summary>A sign-in under way.</summary>
internal sealed record Transaction(string Id, string Address, int Number, string? Client, string ClientName, string ReturnPath, string State,
    TerminalId? Terminal, string? Epoch, string? Nonce, CardId? Card, PersonId? Person, string? Told);

/// <summary>SQL of the transactions. Every step is a conditional update: whoever comes second finds nothing.</summary>
internal static class TransactionStore
{
    internal static Task<Transaction?> FindAsync(Store store, string id, byte[] browser, string address, CancellationToken ct) => store.FindAsync($"""
        select id, address, number, client, client_name, return_path, state, terminal, epoch, nonce, card, person, told
        from sign_in.transactions where id = {id} and browser_hash = {browser} and address = {address} and expires_at > clock_timestamp()
        """, Read, ct);

    /// <summary>Takes a handle: single-use. Null when unknown, used or over.</summary>
    internal static Task<Transaction?> TakeHandleAsync(UnitOfWork work, string handle, TerminalId terminal, string epoch, CancellationToken ct) => work.FindAsync($"""
        update sign_in.transactions set state = 'claimed', handle_hash = null, terminal = {terminal}, epoch = {epoch}, nonce = {Secret.New()}, card = null, person = null, changed_at = clock_timestamp()
        where handle_hash = {Secret.Hash(handle)} and state = 'handed' and handle_expires_at > clock_timestamp() and expires_at > clock_timestamp()
        returning id, address, number, client, client_name, return_path, state, terminal, epoch, nonce, card, person, told
        """, Read, ct);

    /// <summary>The transaction this terminal has claimed and that is in this state, locked for the rest of the unit of work; else null.</summary>
    internal static Task<Transaction?> LockAsync(UnitOfWork work, string id, TerminalId terminal, string state, CancellationToken ct) => work.FindAsync($"""
        select id, address, number, client, client_name, return_path, state, terminal, epoch, nonce, card, person, told
        from sign_in.transactions where id = {id} and terminal = {terminal} and state = {state} and expires_at > clock_timestamp() for update
        """, Read, ct);

    internal static Task MoveAsync(UnitOfWork work, string id, string state, string? told, CancellationToken ct) =>
        work.ExecuteAsync($"update sign_in.transactions set state = {state}, told = {told}, changed_at = clock_timestamp() where id = {id}", ct);

    internal static Transaction Read(NpgsqlDataReader r)
    {
        string? Text(int column) => r.IsDBNull(column) ? null : r.GetString(column);
        return new(r.GetString(0), r.GetString(1), r.GetInt32(2), Text(3), r.GetString(4), r.GetString(5), r.GetString(6),
            TerminalId.TryParse(Text(7), null, out var terminal) ? terminal : null, Text(8), Text(9),
            CardId.TryParse(Text(10), null, out var card) ? card : null, PersonId.TryParse(Text(11), null, out var person) ? person : null, Text(12));
    }
}
