using System.Buffers.Text;
using System.Security.Cryptography;
using AccessBroker.TerminalAgent.Piv;
using AccessBroker.TerminalAgent.Platform;

namespace AccessBroker.TerminalAgent;

/// <summary>
/// The card reader of this terminal. One thread waits for its changes; a card inside is held exclusively from the moment it is there, so that
/// no other process can use it. Every change, also of the PC/SC service itself, is a new presence epoch.
/// </summary>
internal sealed partial class CardReader(IPcsc pcsc, string name, ILogger<CardReader> log) : BackgroundService
{
    private static readonly TimeSpan RetryService = TimeSpan.FromMilliseconds(200);
    /// <summary>How long one wait for a change lasts; only shutdown needs it to end.</summary>
    private const int WaitMilliseconds = 500;

    private readonly string _instance = Base64Url.EncodeToString(RandomNumberGenerator.GetBytes(9));
    private readonly Lock _gate = new();
    private CancellationTokenSource _present = new();
    private long _events;
    private nint _cardContext, _card;
    private uint _protocol;

    /// <summary>What happened: the new epoch, and why (removed, inserted, reader-gone).</summary>
    internal event Action<string, string>? Changed;

    /// <summary>Names this stay of this card; changes with every event and every start of the agent.</summary>
    internal string Epoch { get { lock (_gate) return $"{_instance}.{_events}"; } }

    /// <summary>Cancelled when the card that is there now goes.</summary>
    internal CancellationToken Present { get { lock (_gate) return _present.Token; } }

    /// <summary>The card inside, for one sign-in. Throws <see cref="CardException"/>: no-card, no-reader, card-unreadable.</summary>
    internal PivCard Take()
    {
        lock (_gate)
        {
            if (!ServiceUp) throw new CardException("no-reader", "no reader, or no PC/SC service");
            if (!CardInside) throw new CardException("no-card", "the reader is empty");
            if (_card == 0) Hold();
            return _card != 0 ? new PivCard(pcsc, _card, _protocol) : throw new CardException("card-unreadable", "the card does not answer, or another program holds it");
        }
    }

    internal bool CardInside { get; private set; }
    internal bool ServiceUp { get; private set; }
    private string? _reader;

    protected override Task ExecuteAsync(CancellationToken stoppingToken)
    {
        var ended = new TaskCompletionSource();
        new Thread(() =>
        {
            try { while (!stoppingToken.IsCancellationRequested) Watch(stoppingToken); }
            finally { ended.SetResult(); }
        })
        { IsBackground = true, Name = "card reader" }.Start();
        return ended.Task;
    }

    /// <summary>From the establishing of the PC/SC context to its loss.</summary>
    private void Watch(CancellationToken stopping)
    {
        nint context = 0;
        try
        {
            context = pcsc.EstablishContext();
            var state = PcscConstants.StateUnaware;
            while (!stopping.IsCancellationRequested)
            {
                if (_reader is null && (_reader = FindReader(context)) is null) { stopping.WaitHandle.WaitOne(RetryService); continue; }
                ServiceUp = true;
                var now = pcsc.WaitForChange(context, _reader, state, WaitMilliseconds);
                if ((now & (PcscConstants.StateUnknown | PcscConstants.StateUnavailable)) != 0) throw new PcscException("reader", PcscException.ReaderUnavailable);
                state = now & ~PcscConstants.StateChanged;
                Notice((now & PcscConstants.StatePresent) != 0, now >> 16);
            }
        }
        catch (PcscException e)
        {
            if (ServiceUp) ServiceLost(log, e.Message);
            Lost();
            stopping.WaitHandle.WaitOne(RetryService);
        }
        finally
        {
            lock (_gate) Release();
            if (context != 0) pcsc.ReleaseContext(context);
        }
    }

    private string? FindReader(nint context)
    {
        var readers = pcsc.ListReaders(context);
        return name.Length > 0 ? readers.FirstOrDefault(r => r == name) : readers is [var only] ? only : null;
    }

    private uint _seenEvents;

    private void Notice(bool inside, uint eventCount)
    {
        // The service counts the reader's events: a card that left and came back between two looks is two events, not none.
        var exchanged = inside && CardInside && eventCount != _seenEvents;
        _seenEvents = eventCount;
        if (inside == CardInside && !exchanged) return;
        if (CardInside) Change(false, "removed");
        if (inside) Change(true, "inserted");
    }

    private void Lost()
    {
        ServiceUp = false;
        _reader = null;
        if (CardInside) Change(false, "reader-gone");
    }

    private void Change(bool inside, string cause)
    {
        CancellationTokenSource? gone = null;
        lock (_gate)
        {
            _events++;
            if (!inside) CardInside = false;
            Release();
            if (inside) Hold();
            else (gone, _present) = (_present, new());
        }
        CardChanged(log, cause);
        Changed?.Invoke(Epoch, cause);
        // Used only when the broker has been told: a claim must not overtake the card it is about.
        if (inside) lock (_gate) CardInside = true;
        gone?.Cancel();
        gone?.Dispose();
    }

    private void Hold()
    {
        try
        {
            _cardContext = pcsc.EstablishContext();
            (_card, _protocol) = pcsc.ConnectExclusive(_cardContext, _reader!);
        }
        catch (PcscException e)
        {
            NotHeld(log, e.Message);
            Release();
        }
    }

    private void Release()
    {
        if (_card != 0) pcsc.Disconnect(_card);
        if (_cardContext != 0) pcsc.ReleaseContext(_cardContext);
        (_card, _cardContext) = (0, 0);
    }

    public override void Dispose()
    {
        _present.Dispose();
        base.Dispose();
    }

    [LoggerMessage(LogLevel.Information, "card {Cause}")]
    private static partial void CardChanged(ILogger log, string cause);
    [LoggerMessage(LogLevel.Warning, "the PC/SC service or the reader is gone: {Why}")]
    private static partial void ServiceLost(ILogger log, string why);
    [LoggerMessage(LogLevel.Warning, "the card could not be held: {Why}")]
    private static partial void NotHeld(ILogger log, string why);
}
