using System.Globalization;
using AccessBroker.Lockout;
using AccessBroker.Policies;
using AccessBroker.Primitives;
using AccessBroker.TerminalAgent.Piv;
using AccessBroker.Tests.Support;
using Microsoft.Extensions.DependencyInjection;

namespace AccessBroker.Tests.Lockout;

/// <summary>Failures over the agents' real stream: many at once, a rogue agent, privileged people, patterns, and who unlocks.</summary>
public sealed class StreamLockoutTests(StreamLockoutTests.Host broker) : IClassFixture<StreamLockoutTests.Host>
{
    public sealed class Host : BrokerHost, IAsyncLifetime
    {
        internal Crowd Crowd { get; private set; } = null!;
        internal List<RogueAgent> Agents { get; } = [];

        async ValueTask IAsyncLifetime.InitializeAsync()
        {
            await InitializeAsync();
            await SqlAsync("update oidc.clients set configuration = configuration where false");
            Crowd = await Crowd.CreateAsync(this, Terminals, prefix: "s");
            foreach (var member in Crowd.Members) await member.StopAsync();
            // Everybody may sit everywhere: what is asked here is who is locked.
            await SqlAsync("insert into terminals.grants (terminal, person, approved_by, reason, valid_from) select 's-t-' || t, 's-p-' || p, 'p-2001', '試験', now() - interval '1 day' from generate_series(0, 19) t, generate_series(0, 9) p where t <> p");
            foreach (var member in Crowd.Members)
            {
                var agent = new RogueAgent(this, member.Options);
                await agent.StartAsync();
                Agents.Add(agent);
            }
        }

        protected override void ChangePolicies(string directory)
        {
            CrowdedCity.LiftRateLimit(directory);
            var lockout = Path.Combine(directory, "lockout.yaml");
            File.WriteAllText(lockout, File.ReadAllText(lockout).Replace("failures: 10 ", "failures: 50 ", StringComparison.Ordinal));
        }

        protected override async Task EndAsync()
        {
            foreach (var agent in Agents) await agent.DisposeAsync();
            await Crowd.DisposeAsync();
        }

        internal const int Terminals = 20, Operators = 10;
    }

    private static bool Long => Environment.GetEnvironmentVariable("ACCESSBROKER_LONG") is not null;

    private PivCard CardOf(int person) => broker.Crowd.Members[person].OpenCard();

    private Task<List<string>> ClearAsync() => broker.SqlAsync("truncate lockout.counters; delete from incidents.candidates");

    /// <summary>50 wrong PINs at once by 20 agents for 10 operators: 3 rounds here, 100 with --long; in the middle of the last one the node is killed.</summary>
    [Fact, Trait("Requirement", "LCK-04"), Trait("Requirement", "LCK-02"), Trait("Requirement", "LCK-01")]
    public async Task Fifty_failures_at_once_over_the_stream_lose_none_and_pass_no_limit()
    {
        var rounds = Long ? 100 : 3;
        var cards = Enumerable.Range(0, Host.Operators).Select(CardOf).ToArray();
        for (var round = 0; round < rounds; round++)
        {
            await ClearAsync();
            var seeded = new Random(4711 + round);
            var attempts = Enumerable.Range(0, 50).Select(n => (Agent: broker.Agents[seeded.Next(Host.Terminals)], Person: n % Host.Operators)).ToList();
            var ready = new List<(RogueAgent Agent, int Person, string Transaction, string Nonce)>();
            foreach (var (agent, person) in attempts)
            {
                using var browser = new TestBrowser(broker);
                var (transaction, nonce) = (await agent.ClaimAsync(browser))!.Value;
                Assert.NotNull((await agent.PossessAsync(cards[person], transaction, nonce)).Answer);
                ready.Add((agent, person, transaction, nonce));
            }
            var counted = await Task.WhenAll(ready.Select(async r => (r.Person, r.Agent.Terminal, Result: await r.Agent.FailAsync(cards[r.Person], r.Transaction, r.Nonce, 0, 6, 6))));
            // Every one was counted for its terminal; no counter of a person passes its limit, and none is below what was committed.
            Assert.Equal(["50"], await broker.SqlAsync("select sum(cardinality(failures)) from lockout.counters where subject like 'terminal:s-t-%'"));
            var operators = (await broker.SqlAsync("select subject, cardinality(failures), version from lockout.counters where subject like 'operator:%'")).ToDictionary(r => r.Split('|')[0], r => r.Split('|').Skip(1).Select(v => int.Parse(v, CultureInfo.InvariantCulture)).ToArray());
            Assert.Equal(Host.Operators, operators.Count);
            Assert.All(operators.Values, c => Assert.Equal((5, 5), (c[0], c[1])));
            Assert.All(await broker.SqlAsync("select cardinality(failures) from lockout.counters where subject like 'operator-at-terminal:%'"), c => Assert.InRange(int.Parse(c, CultureInfo.InvariantCulture), 1, 3));
            Assert.Equal(50, counted.Length);
        }
        // Killed in the middle: every failure that was answered is in the counters.
        await ClearAsync();
        var before = new List<(RogueAgent Agent, int Person, string Transaction, string Nonce)>();
        for (var n = 0; n < 20; n++)
        {
            using var browser = new TestBrowser(broker);
            var (transaction, nonce) = (await broker.Agents[n].ClaimAsync(browser))!.Value;
            await broker.Agents[n].PossessAsync(cards[n % Host.Operators], transaction, nonce);
            before.Add((broker.Agents[n], n % Host.Operators, transaction, nonce));
        }
        var under = before.Select(r => r.Agent.FailAsync(cards[r.Person], r.Transaction, r.Nonce, 0, 6, 6)).ToList();
        await Task.WhenAny(under);
        await broker.StopAsync();
        var answered = (await Task.WhenAll(under)).Count(u => u.Code != "broker.unavailable");
        await broker.StartAsync();
        Assert.True(int.Parse((await broker.SqlAsync("select coalesce(sum(cardinality(failures)), 0) from lockout.counters where subject like 'terminal:%'"))[0], CultureInfo.InvariantCulture) >= answered);
        Assert.True(answered > 0);
        foreach (var agent in broker.Agents) await agent.AttachedAsync();
    }

    /// <summary>Whatever an enrolled agent says, without the card it counts nothing against its owner: 40 seeded messages here, 2,000 with --long.</summary>
    [Fact, Trait("Requirement", "LCK-02")]
    public async Task A_rogue_agent_without_the_card_locks_out_nobody()
    {
        await ClearAsync();
        var (seed, victim) = (20261121, 7);
        var seeded = new Random(seed);
        var (agent, other) = (broker.Agents[3], broker.Agents[4]);
        var card = CardOf(victim);
        // It has seen the card once: the certificate, a signature of then, an answered failure.
        using var browser = new TestBrowser(broker);
        var (once, nonce) = (await agent.ClaimAsync(browser))!.Value;
        await agent.PossessAsync(card, once, nonce);
        await broker.SqlAsync("truncate lockout.counters");
        card.Begin();
        var certificate = Convert.ToBase64String(card.ReadCertificate(PivCard.Slot.Possession));
        var old = Convert.ToBase64String(card.Sign(PivCard.Slot.Possession, TerminalAgent.SignedFields.Encode(TerminalAgent.SignedFields.Possession, nonce, agent.Terminal)));
        for (var n = 0; n < (Long ? 2_000 : 40); n++)
        {
            // Its terminal locks itself by this; that is the terminal's counter, not the person's.
            await broker.SqlAsync("delete from lockout.counters where subject like 'terminal:%'");
            var who = seeded.Next(2) == 0 ? agent : other;
            var started = seeded.Next(3) > 0 ? await who.ClaimAsync(browser) : null;
            var transaction = started?.Transaction ?? once;
            switch (seeded.Next(4))
            {
                case 0: await who.SendAsync(new() { ["type"] = "possession", ["transaction"] = transaction, ["certificate"] = certificate, ["signature"] = old, ["triesLeft"] = seeded.Next(7) }); break;
                case 1: await who.FailAsync(null, transaction, "", seeded.Next(3), 6, seeded.Next(6)); break;
                case 2: await who.SendAsync(new() { ["type"] = "pin-failed", ["transaction"] = transaction, ["triesBefore"] = seeded.Next(7), ["triesAfter"] = 0, ["signature"] = old }); break;
                default: await who.SendAsync(new() { ["type"] = "proof", ["transaction"] = transaction, ["certificate"] = certificate, ["signature"] = old, ["triesBefore"] = 0, ["triesAfter"] = 0 }); break;
            }
            Assert.Equal([], await broker.SqlAsync($"select subject from lockout.counters where subject like 'operator%:s-p-{victim}%' and cardinality(failures) > 0"));
        }
    }

    [Fact, Trait("Requirement", "LCK-03"), Trait("Requirement", "PWD-08")]
    public async Task A_privileged_person_locks_earlier_and_stays_locked_until_somebody_else_unlocks()
    {
        await ClearAsync();
        await using var services = CityServices.Of(broker, TimeProvider.System);
        var (failures, store, unlock) = (services.GetRequiredService<AccessFailures>(), services.GetRequiredService<AccessBroker.Database.Store>(), services.GetRequiredService<UnlockOperator>());
        var (manager, terminal) = (PersonId.Parse("p-3001"), TerminalId.Parse("t-02"));
        async Task<int> FailAsync(PersonId person)
        {
            await using var work = await store.BeginAsync(default);
            var locks = await failures.CountAsync(work, terminal, person, default);
            await work.CommitAsync(default);
            return locks.Count;
        }
        Assert.Equal((0, 1), (await FailAsync(manager), await FailAsync(manager)));
        Assert.Equal((0, 0, 1), (await FailAsync(PersonId.Parse("p-1001")), await FailAsync(PersonId.Parse("p-1001")), await FailAsync(PersonId.Parse("p-1001"))));
        await broker.SqlAsync("update lockout.counters set failures = (select array_agg(f - interval '2 days') from unnest(failures) f), locked_until = locked_until - interval '2 days'");
        Assert.NotNull(await store.AskAsync(failures.LockOf(manager, terminal), default));
        Assert.Null(await store.AskAsync(failures.LockOf(PersonId.Parse("p-1001"), terminal), default));
        Assert.Equal(UnlockOperator.Outcome.OwnLock, await unlock.RunAsync(manager, manager, "自分で", default));
        Assert.Equal(UnlockOperator.Outcome.Unlocked, await unlock.RunAsync(manager, PersonId.Parse("p-3002"), "本人に確かめた", default));
        Assert.Equal(UnlockOperator.Outcome.NotLocked, await unlock.RunAsync(manager, PersonId.Parse("p-3002"), "もう一度", default));
        Assert.Null(await store.AskAsync(failures.LockOf(manager, terminal), default));
    }

    [Fact, Trait("Requirement", "LCK-03")]
    public async Task Old_failures_of_somebody_who_becomes_privileged_lock_nobody()
    {
        await ClearAsync();
        await using var services = CityServices.Of(broker, TimeProvider.System);
        var (failures, store) = (services.GetRequiredService<AccessFailures>(), services.GetRequiredService<AccessBroker.Database.Store>());
        var (person, terminal) = (PersonId.Parse("s-p-1"), TerminalId.Parse("t-02"));
        for (var i = 0; i < 2; i++)
        {
            await using var work = await store.BeginAsync(default);
            await failures.CountAsync(work, terminal, person, default);
            await work.CommitAsync(default);
        }
        await broker.SqlAsync("insert into people.posts (person, post, section, role, valid_from) values ('s-p-1', '代行', '', 'pin-manager', now() - interval '1 minute')");
        try { Assert.Null(await store.AskAsync(failures.LockOf(person, terminal), default)); }
        finally { await broker.SqlAsync("delete from people.posts where person = 's-p-1' and role = 'pin-manager'"); }
    }

    [Fact, Trait("Requirement", "LCK-05")]
    public async Task Many_operators_at_a_terminal_and_one_at_many_are_looked_at_once_an_hour()
    {
        await ClearAsync();
        await using var services = CityServices.Of(broker, TimeProvider.System);
        var (failures, store) = (services.GetRequiredService<AccessFailures>(), services.GetRequiredService<AccessBroker.Database.Store>());
        async Task FailAsync(string person, string terminal)
        {
            await using var work = await store.BeginAsync(default);
            await failures.CountAsync(work, TerminalId.Parse(terminal), PersonId.Parse(person), default);
            await work.CommitAsync(default);
        }
        foreach (var person in (string[])["s-p-0", "s-p-1", "s-p-2", "s-p-3"]) await FailAsync(person, "t-02");
        foreach (var terminal in (string[])["s-t-1", "s-t-2", "s-t-3", "s-t-4"]) await FailAsync("s-p-5", terminal);
        Assert.Equal(["many-operators-at-a-terminal|t-02|1", "operator-at-many-terminals|s-p-5|2"], await broker.SqlAsync("select kind, subject, level from incidents.candidates order by kind"));
        Assert.NotEmpty(await broker.SqlAsync("select 1 from notices.notices where person = 'p-8001' and subject like '確認が必要%'"));
    }

    [Theory, Trait("Requirement", "LCK-03"), Trait("Requirement", "PWD-08")]
    [InlineData("operator-at-terminal: { failures: 2, window: 30m }", "operator-at-terminal: { failures: 3, window: 30m }"), InlineData("operator: { failures: 3, window: 60m }", "operator: { failures: 5, window: 60m }"), InlineData("operator: { failures: 3, window: 60m }", "operator: { failures: 3, window: 15m }")]
    public void A_policy_that_is_not_stricter_for_privileged_people_is_refused(string from, string to)
    {
        var copy = Directory.CreateTempSubdirectory().FullName;
        var text = File.ReadAllText(Path.Combine(Place.Root, "policies/lockout.yaml"));
        Assert.Contains(from, text, StringComparison.Ordinal);
        File.WriteAllText(Path.Combine(copy, "lockout.yaml"), text.Replace(from, to, StringComparison.Ordinal));
        Assert.Contains("LCK-03", Assert.Throws<PolicyException>(() => PolicyFiles.Load<LockoutPolicy>(copy, "lockout")).Message, StringComparison.Ordinal);
    }
}
