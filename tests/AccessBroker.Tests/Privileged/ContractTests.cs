using AccessBroker.People;
using AccessBroker.Policies;
using AccessBroker.Primitives;
using AccessBroker.Privileged;

namespace AccessBroker.Tests.Privileged;

/// <summary>What a contract lets its people do, and nothing else.</summary>
public sealed class ContractTests
{
    private const string Contracts = """
        contracts:
          vendor: { name: 保守契約, from: "2026-04-01", until: "2027-03-31", people: [p-6001], work: [maintain], terminals: [t-01], subcontracted: { p-6002: 承認 2026-05-01 第3号 } }
        """;

    private static PrivilegedPolicy Policy(string contracts = Contracts, bool subcontracting = false) =>
        PolicyFiles.Parse<PrivilegedPolicy>("x", PrivilegedCity.Policy.Replace("試験サーバー, kind: ssh", $"試験サーバー, kind: ssh, subcontracting: {(subcontracting ? "true" : "false")}", StringComparison.Ordinal) + contracts);

    [Theory, Trait("Requirement", "OUT-01"), Trait("Requirement", "OUT-02"), Trait("Requirement", "OUT-05")]
    [InlineData("p-6001", "maintain", "t-01", "2026-06-01T01:00:00Z", null)]
    [InlineData("p-6001", "maintain", null, "2026-06-01T01:00:00Z", null)]
    [InlineData("p-6001", "look", "t-01", "2026-06-01T01:00:00Z", "privileged.outside-contract")]
    [InlineData("p-6001", "maintain", "t-02", "2026-06-01T01:00:00Z", "privileged.outside-contract-place")]
    [InlineData("p-6003", "maintain", "t-01", "2026-06-01T01:00:00Z", "privileged.no-contract")]
    [InlineData("p-6001", "maintain", "t-01", "2026-03-31T14:59:59Z", "privileged.outside-contract-days")]
    [InlineData("p-6001", "maintain", "t-01", "2026-03-31T15:00:00Z", null)]
    [InlineData("p-6001", "maintain", "t-01", "2027-03-31T14:00:00Z", null)]
    [InlineData("p-6001", "maintain", "t-01", "2027-03-31T14:00:01Z", "privileged.outside-contract-days")]
    [InlineData("p-6002", "maintain", "t-01", "2026-06-01T01:00:00Z", "privileged.subcontracted")]
    public void A_contractor_works_inside_the_contract_only(string person, string work, string? terminal, string from, string? code)
    {
        var start = DateTimeOffset.Parse(from, System.Globalization.CultureInfo.InvariantCulture);
        var problem = Contract.Problem(Policy(), Person(person, "contractor"), work, terminal is null ? null : TerminalId.Parse(terminal), start, start + TimeSpan.FromHours(1));
        Assert.Equal(code, problem?.Code);
        // It is nobody else's business.
        Assert.Null(Contract.Problem(Policy(), Person(person, "regular"), work, terminal is null ? null : TerminalId.Parse(terminal), start, start + TimeSpan.FromHours(1)));
    }

    [Fact, Trait("Requirement", "OUT-05")]
    public void A_subcontractor_works_where_it_is_approved_and_not_forbidden()
    {
        var start = new DateTimeOffset(2026, 6, 1, 1, 0, 0, TimeSpan.Zero);
        Assert.Null(Contract.Problem(Policy(subcontracting: true), Person("p-6002", "contractor"), "maintain", TerminalId.Parse("t-01"), start, start + TimeSpan.FromHours(1)));
        Assert.Contains("prior approval", Refused(Contracts.Replace("承認 2026-05-01 第3号", "\"\"", StringComparison.Ordinal)), StringComparison.Ordinal);
        Assert.Contains("nobody's own", Refused(Contracts.Replace("people: [p-6001]", "people: [p-6001, p-6002]", StringComparison.Ordinal)), StringComparison.Ordinal);
        Assert.Contains("no work nothing", Refused(Contracts.Replace("work: [maintain]", "work: [nothing]", StringComparison.Ordinal)), StringComparison.Ordinal);
        Assert.Contains("the earlier first", Refused(Contracts.Replace("2027-03-31", "2025-03-31", StringComparison.Ordinal)), StringComparison.Ordinal);
        Assert.Contains("the earlier first", Refused(Contracts.Replace("2027-03-31", "2027-02-31", StringComparison.Ordinal)), StringComparison.Ordinal);
    }

    private static string Refused(string contracts) => Assert.Throws<PolicyException>(() => Policy(contracts)).Message;
    private static ValidPerson Person(string id, string employment) => new(PersonId.Parse(id), "試験", [], employment);
}
