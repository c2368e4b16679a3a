using AccessBroker.Cards;
using AccessBroker.Database;
using AccessBroker.Keys;
using AccessBroker.Policies;
using AccessBroker.Primitives;
using AccessBroker.TerminalAgent;
using AccessBroker.TerminalAgent.Piv;
using CardSimulator;
using Microsoft.Extensions.Logging.Abstractions;
using Npgsql;

namespace AccessBroker.Tests.Support;

/// <summary>Many people at many terminals, each registered, certified by the HSM's CA, enrolled and attached as in a city.</summary>
internal sealed class Crowd : IAsyncDisposable
{
    private readonly List<CrowdMember> _members = [];

    internal IReadOnlyList<CrowdMember> Members => _members;

    /// <summary>People PREFIX-p-N at terminals PREFIX-t-N of <paramref name="system"/>, cards out of their readers.</summary>
    internal static async Task<Crowd> CreateAsync(BrokerHost broker, int count, string system = "koseki", string prefix = "c")
    {
        var crowd = new Crowd();
        await broker.SqlAsync($"""
            insert into people.persons (id, valid_from) select '{prefix}-p-' || n, now() - interval '1 day' from generate_series(0, {count - 1}) n;
            insert into people.names (person, name, valid_from) select '{prefix}-p-' || n, '群衆 ' || n, now() - interval '1 day' from generate_series(0, {count - 1}) n;
            insert into people.posts (person, section, post, role, valid_from) select '{prefix}-p-' || n, '市民課', '窓口担当', 'operator', now() - interval '1 day' from generate_series(0, {count - 1}) n;
            insert into terminals.terminals (id, name, responsible_person, place, system, address, state) select '{prefix}-t-' || n, '窓口 ' || n, 'p-2001', '1階', '{system}', '127.0.0.1', 'in-use' from generate_series(0, {count - 1}) n;
            insert into terminals.grants (terminal, person, approved_by, reason, valid_from) select '{prefix}-t-' || n, '{prefix}-p-' || n, 'p-2001', '窓口業務', now() - interval '1 day' from generate_series(0, {count - 1}) n
            """);
        var hsm = new HsmOptions { PinFile = $"{Place.Directory}/hsm/pin", Connections = 1, Deadline = TimeSpan.FromSeconds(10) };
        hsm.Environment["P11_KIT_SERVER_ADDRESS"] = Place.HsmSocket;
        await using var device = new Pkcs11Hsm(hsm, NullLogger<Pkcs11Hsm>.Instance);
        await using var store = new Store(NpgsqlDataSource.Create($"Host={Place.Directory}/sql;Database={broker.DatabaseName};Username=accessbroker"));
        var issue = new IssueCard(store, new CertificateAuthorities(device, hsm, Path.Combine(Place.Directory, "ca")), new CardSecrets(device, hsm), new Active<CardsPolicy>(PolicyFiles.Load<CardsPolicy>(broker.PolicyDirectory, "cards")), TimeProvider.System);
        for (var n = 0; n < count; n++) crowd._members.Add(await AddAsync(broker, issue, prefix, n));
        foreach (var member in crowd._members) await member.StartAsync();
        await crowd.AttachedAsync();
        return crowd;
    }

    internal Task AttachedAsync(double seconds = 30) => Eventually.TrueAsync(() => Task.FromResult(_members.TrueForAll(m => m.Attached)), "the crowd is attached", seconds);

    internal Task CardsAsync(bool inside) => Task.WhenAll(_members.Select(m => m.CardAsync(inside)));

    private static async Task<CrowdMember> AddAsync(BrokerHost broker, IssueCard issue, string prefix, int n)
    {
        var card = CardState.Blank($"crowd-{n}");
        var reader = new MemoryReader(card);
        reader.Insert();
        var piv = new PivCard(reader, 1, TerminalAgent.Platform.PcscConstants.ProtocolT1);
        var keys = PrepareCard.Generate(piv);
        var certificates = await issue.RunAsync(new(CardId.Parse(keys.Card), keys.SignIn, keys.Signature, keys.Possession), PersonId.Parse($"{prefix}-p-{n}"), CancellationToken.None);
        PrepareCard.Load(piv, new(certificates.SignIn, certificates.Signature, certificates.Possession, certificates.ManagementKey, certificates.Puk), Place.Pin);
        reader.Remove();
        var options = new AgentOptions
        {
            Broker = $"https://localhost:{broker.TerminalsPort}",
            BrokerOrigin = broker.Issuer,
            BrokerCa = Path.Combine(Place.Directory, "tls/ca.pem"),
            DataDirectory = Path.Combine(broker.DataDirectory, "crowd", $"{prefix}-t-{n}"),
        };
        Directory.CreateDirectory(options.DataDirectory);
        var code = Secret.New(16);
        await broker.SqlAsync($"insert into terminals.enrolment_codes (code_hash, terminal, expires_at) values ('\\x{Convert.ToHexString(Secret.Hash(code))}', '{prefix}-t-{n}', now() + interval '1 hour')");
        await EnrolTerminal.RunAsync(options, code, CancellationToken.None);
        return new(broker, options, reader);
    }

    public async ValueTask DisposeAsync() => await Task.WhenAll(_members.Select(m => m.DisposeAsync().AsTask()));
}
