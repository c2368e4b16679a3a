namespace AccessBroker.Tests.Support;

/// <summary>Tests at terminal t-01: each begins and ends with empty readers, counters and sessions; with <paramref name="card"/>, that card is inside.</summary>
public abstract class AtTerminal(BrokerHost broker, string? card = null) : IAsyncLifetime
{
    private protected TestTerminal Terminal { get; private set; } = null!;

    public async ValueTask InitializeAsync()
    {
        await broker.ClearAsync();
        Terminal = await broker.TerminalAsync();
        await Terminal.AttachedAsync();
        if (card is not null) await Terminal.InsertAsync(card);
    }

    public async ValueTask DisposeAsync()
    {
        await EndAsync();
        await broker.ClearAsync();
        GC.SuppressFinalize(this);
    }

    /// <summary>What a class must put right before the next test.</summary>
    protected virtual Task EndAsync() => Task.CompletedTask;
}
