using AccessBroker.Approvals;
using AccessBroker.Policies;
using AccessBroker.Primitives;
using AccessBroker.Tests.Support;
using Microsoft.Extensions.DependencyInjection;

namespace AccessBroker.Tests.Approvals;

/// <summary>Who must not do two things in one case, over everything there is, and the recorded way out.</summary>
public sealed class SeparationTests(BrokerHost broker) : IClassFixture<BrokerHost>
{
    private static readonly CancellationToken None = CancellationToken.None;

    [Fact, Trait("Requirement", "PRV-10"), Trait("Requirement", "PRV-11"), Trait("Requirement", "CRD-03")]
    public void Over_all_acts_and_all_pairs_of_people_one_person_never_has_two_parts()
    {
        string[] people = ["a", "b", "c"];
        var cases = 0;
        foreach (var act in Enum.GetValues<Act>())
            foreach (var actor in people)
                foreach (var requester in people)
                    foreach (var subject in people.Append(null))
                        foreach (var approver in people.Append(null))
                            foreach (var second in (bool[])[false, true])
                            {
                                var broken = SeparationRule.Violations(act, actor, false, new(requester, approver is null ? [] : [approver], subject, second, [requester]));
                                var (asked, about, approved) = (actor == requester, actor == subject, actor == approver);
                                var forbidden = act switch { Act.Approve => asked || about || approved, Act.Execute => asked || about || (second && approved), Act.Review => asked || about, Act.Work => false, _ => about || asked };
                                Assert.Equal(forbidden, broken.Count > 0);
                                Assert.All(broken, rule => Assert.Contains(rule, SeparationRule.Names));
                                Assert.Equal(act != Act.Work, SeparationRule.Violations(act, actor, true, new(requester, [], subject)).Contains("contractor-decides"));
                                cases++;
                            }
        Assert.Equal(5 * 3 * 3 * 4 * 4 * 2, cases);
    }

    /// <summary>Every kind of request × every pair of (person, role) of the city: nobody decides on their own, whatever roles they hold.</summary>
    [Fact, Trait("Requirement", "PRV-10")]
    public async Task Over_all_kinds_and_all_pairs_of_people_the_desk_lets_nobody_decide_on_their_own_request()
    {
        await using var services = CityServices.Of(broker, TimeProvider.System);
        var (desk, roles) = (services.GetRequiredService<RequestDesk>(), services.GetRequiredService<Active<RolesPolicy>>().Now);
        var people = await broker.SqlAsync("select person, array_to_string(array_agg(distinct role), ',') from people.posts where valid_until is null and person not in ('p-1004') group by person order by person");
        var pairs = people.Select(p => (Id: PersonId.Parse(p.Split('|')[0]), Roles: p.Split('|')[1].Split(','))).ToList();
        var decided = 0;
        foreach (var kind in desk.Kinds.Where(k => k.Name != "terminals.report-isolation"))
            foreach (var (requester, held) in pairs)
            {
                var outcome = await desk.SubmitAsync(requester, kind.Name, await FieldsAsync(kind, requester), "試験のための申請", None);
                Assert.Equal(roles.Allows(held, kind.RequestOperation), outcome is RequestDesk.Outcome.Done or RequestDesk.Outcome.Problem);
                if (outcome is not RequestDesk.Outcome.Done done) continue;
                foreach (var step in kind.Steps) Assert.IsNotType<RequestDesk.Outcome.Done>(await desk.ApproveAsync(requester, done.Request, step.Name, "", null, None));
                if (kind.IsExecuted && !kind.RequesterMayExecute) Assert.IsNotType<RequestDesk.Outcome.Done>(await desk.ExecuteAsync(requester, done.Request, "", null, None));
                foreach (var (other, theirs) in pairs.Where(p => p.Id != requester))
                    foreach (var step in kind.Steps.Where(s => !roles.Allows(theirs, s.Operation)))
                    {
                        Assert.IsType<RequestDesk.Outcome.NotPermitted>(await desk.ApproveAsync(other, done.Request, step.Name, "", null, None));
                        decided++;
                    }
                await desk.WithdrawAsync(requester, done.Request, None);
            }
        Assert.True(decided > 50, $"{decided} pairs");
        Assert.Equal(["0"], await broker.SqlAsync("select count(*) from approvals.decisions d join approvals.requests r on r.id = d.request where d.by = r.requested_by and d.step <> 'withdraw' and r.kind <> 'cards.consult' and not exists (select from approvals.exceptions e where e.request = r.id)"));
        Assert.Equal(["0"], await broker.SqlAsync("select count(*) from approvals.decisions where by = 'p-6001' and step <> 'withdraw'"));
    }

    private async Task<Dictionary<string, string>> FieldsAsync(RequestKind kind, PersonId requester)
    {
        var card = (await broker.SqlAsync("select id from cards.cards where person = 'p-1001'"))[0];
        return kind.Fields.ToDictionary(f => f.Name, f => f.Name switch
        {
            "person" => kind.Name is "cards.issue" ? "p-1005" : "p-1001",
            "newTerminal" => $"t-new-{requester.Value[2..]}",
            "responsible" or "checkedBy" => "p-2001",
            "consulted" => "p-9001",
            "card" => card,
            "terminal" => "t-01",
            "from" => "",
            "until" => kind.Name == "staff.deputy" ? "2099-03-31" : "",
            "address" => "10.1.1.1",
            "system" => "koseki",
            _ => f.Type == FieldType.Choice ? f.Choices[0].Value : "試験",
        }).Select(f => kind.Name == "staff.deputy" && f.Key == "from" ? new("from", "2099-01-01") : f).ToDictionary();
    }

    [Fact, Trait("Requirement", "CRD-03"), Trait("Requirement", "CRD-02"), Trait("Requirement", "CRD-01")]
    public async Task The_seeds_own_org_chart_is_blocked_passes_by_a_recorded_exception_and_waits_for_an_independent_review()
    {
        await using var services = CityServices.Of(broker, TimeProvider.System);
        var (desk, review) = (services.GetRequiredService<RequestDesk>(), services.GetRequiredService<ReviewException>());
        var both = PersonId.Parse("p-3001");
        var card = (await broker.SqlAsync("select id from cards.cards where person = 'p-7001'"))[0];
        var request = ((RequestDesk.Outcome.Done)await desk.SubmitAsync(both, "cards.cancel", new Dictionary<string, string> { ["card"] = card }, "使わなくなったため", None)).Request;
        var blocked = Assert.IsType<RequestDesk.Outcome.Separated>(await desk.ExecuteAsync(both, request, "", null, None));
        Assert.Equal(["requester-executes"], blocked.Rules);
        Assert.True(blocked.MayBeUnavoidable);
        Assert.IsType<RequestDesk.Outcome.Separated>(await desk.ExecuteAsync(both, request, "", "短い", None));
        Assert.Equal("refused approvals.requester-executes p-3001 -", await broker.LastEventAsync("cards.execute-cancel"));
        Assert.IsType<RequestDesk.Outcome.Done>(await desk.ExecuteAsync(both, request, "", "担当課長が一人しかおらず、代わりがいないため", None));
        var exception = (await broker.SqlAsync($"select id, rules, by, reviewed_at is null from approvals.exceptions where request = {request}"))[0].Split('|');
        Assert.Equal(["requester-executes", "p-3001", "True"], exception[1..]);
        var id = long.Parse(exception[0], System.Globalization.CultureInfo.InvariantCulture);
        Assert.Equal(ReviewException.Outcome.NotPermitted, await review.RunAsync(both, id, "問題なし", None));
        Assert.Equal(ReviewException.Outcome.Reviewed, await review.RunAsync(PersonId.Parse("p-8001"), id, "やむを得なかったと認める", None));
        Assert.Equal(ReviewException.Outcome.ReviewedAlready, await review.RunAsync(PersonId.Parse("p-8002"), id, "もう一度", None));
        // Until a review that is overdue is done, that person gets no other exception.
        await broker.SqlAsync($"update cards.cards set state = 'handed-over' where id = '{card}'; update approvals.exceptions set reviewed_at = null, reviewed_by = null, review_by = now() - interval '1 day' where id = {id}");
        request = ((RequestDesk.Outcome.Done)await desk.SubmitAsync(both, "cards.cancel", new Dictionary<string, string> { ["card"] = card }, "もう一度", None)).Request;
        Assert.False(Assert.IsType<RequestDesk.Outcome.Separated>(await desk.ExecuteAsync(both, request, "", "担当課長が一人しかおらず、代わりがいないため", None)).MayBeUnavoidable);
        await broker.SqlAsync($"update approvals.exceptions set reviewed_at = now() where id = {id}");
        await desk.WithdrawAsync(both, request, None);
    }

    [Fact, Trait("Requirement", "CRD-05")]
    public async Task The_pin_manager_acts_on_their_own_initiative_only_after_the_consulted_manager_has_confirmed_it()
    {
        await using var services = CityServices.Of(broker, TimeProvider.System);
        var desk = services.GetRequiredService<RequestDesk>();
        var manager = PersonId.Parse("p-3001");
        var card = (await broker.SqlAsync("select id from cards.cards where person = 'p-1002'"))[0];
        var fields = new Dictionary<string, string> { ["act"] = "cancel", ["person"] = "p-1002", ["card"] = card, ["consulted"] = "p-9001", ["outcome"] = "取り消すことで一致" };
        var id = ((RequestDesk.Outcome.Done)await desk.SubmitAsync(manager, "cards.consult", fields, "不審な使われ方", None)).Request;
        Assert.IsType<RequestDesk.Outcome.Closed>(await desk.ExecuteAsync(manager, id, "", null, None));
        Assert.IsType<RequestDesk.Outcome.NotPermitted>(await desk.ApproveAsync(PersonId.Parse("p-8001"), id, "approve-it", "", null, None));
        Assert.IsType<RequestDesk.Outcome.Done>(await desk.ApproveAsync(PersonId.Parse("p-9001"), id, "approve-it", "協議した", null, None));
        Assert.IsType<RequestDesk.Outcome.Done>(await desk.ExecuteAsync(manager, id, "", null, None));
        Assert.Equal(["revoked"], await broker.SqlAsync($"select state from cards.cards where id = '{card}'"));
        Assert.Equal(["取消|revoked"], await broker.SqlAsync($"select what, fields->>'state' from registers.entries where register = 'cards' and subject = '{card}' order by id desc limit 1"));
    }

    [Fact, Trait("Requirement", "TRM-06"), Trait("Requirement", "TRM-08"), Trait("Requirement", "TRM-01")]
    public async Task A_terminal_needs_both_chiefs_and_a_seat_the_responsible_person()
    {
        await using var services = CityServices.Of(broker, TimeProvider.System);
        var desk = services.GetRequiredService<RequestDesk>();
        var fields = new Dictionary<string, string> { ["newTerminal"] = "t-77", ["name"] = "7番窓口", ["responsible"] = "p-2001", ["place"] = "1階", ["system"] = "koseki", ["address"] = "10.0.0.77", ["link"] = "wifi", ["mac"] = "", ["mobile"] = "no" };
        Assert.Contains("無線LAN", Assert.IsType<RequestDesk.Outcome.Problem>(await desk.SubmitAsync(PersonId.Parse("p-9001"), "terminals.enrol", fields, "増設", None)).Sentence, StringComparison.Ordinal);
        fields["link"] = "wired";
        var id = ((RequestDesk.Outcome.Done)await desk.SubmitAsync(PersonId.Parse("p-9001"), "terminals.enrol", fields, "増設", None)).Request;
        Assert.IsType<RequestDesk.Outcome.Done>(await desk.ApproveAsync(PersonId.Parse("p-8001"), id, "approve-chief", "", null, None));
        Assert.Empty(await broker.SqlAsync("select 1 from terminals.terminals where id = 't-77'"));
        Assert.IsType<RequestDesk.Outcome.Separated>(await desk.ApproveAsync(PersonId.Parse("p-6001"), id, "approve-system", "", null, None));
        Assert.IsType<RequestDesk.Outcome.Done>(await desk.ApproveAsync(PersonId.Parse("p-9002"), id, "approve-system", "", null, None));
        Assert.Equal(["in-use|10.0.0.77"], await broker.SqlAsync("select state, address from terminals.terminals where id = 't-77'"));
        var seat = ((RequestDesk.Outcome.Done)await desk.SubmitAsync(PersonId.Parse("p-9001"), "terminals.grant", new Dictionary<string, string> { ["person"] = "p-1001", ["terminal"] = "t-77" }, "応援", None)).Request;
        // Another responsible person is not the one of this terminal; 統括 is not either.
        Assert.IsType<RequestDesk.Outcome.NotPermitted>(await desk.ApproveAsync(PersonId.Parse("p-8001"), seat, "approve-it", "", null, None));
        Assert.IsType<RequestDesk.Outcome.Done>(await desk.ApproveAsync(PersonId.Parse("p-2001"), seat, "approve-it", "", null, None));
        Assert.Equal(["p-2001|応援"], await broker.SqlAsync("select approved_by, reason from terminals.grants where terminal = 't-77' and person = 'p-1001'"));
    }
}
