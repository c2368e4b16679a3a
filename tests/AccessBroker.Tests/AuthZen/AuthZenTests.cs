using System.Net;
using System.Net.Http.Headers;
using System.Text;
using System.Text.Json;
using AccessBroker.Database;
using AccessBroker.FilePermissions;
using AccessBroker.Tests.Support;
using Npgsql;

namespace AccessBroker.Tests.AuthZen;

/// <summary>The AuthZEN certification scenario and the published interop decisions, through the public API of a running broker.</summary>
public sealed class AuthZenTests(AuthZenTests.Pdp broker) : IClassFixture<AuthZenTests.Pdp>
{
    public sealed class Pdp : BrokerHost
    {
        internal string Enforcer { get; private set; } = "";

        /// <summary>The fixtures as people, sets and grants of ours.</summary>
        protected override async Task ArrangeAsync()
        {
            await using (var owner = new Store(NpgsqlDataSource.Create(Environment()["Broker__DatabaseOwner"]))) Enforcer = await Enforcers.MakeAsync(owner, "harness", null, TimeProvider.System, default);
            foreach (var person in (string[])["alice", "bob", "carol", "dan", "erin", "felix", .. Subjects.Select(s => s.Id)]) await PersonAsync(person);
            // Certification scenario §3: rules 1 to 8.
            await SetAsync("record:");
            await GrantAsync("record:record-1", "alice", "read write");
            await GrantAsync("record:record-2", "alice", "read write");
            await GrantAsync("record:record-1", "bob", "read");
            await GrantAsync("record:record-2", "bob", "read write");
            await GrantAsync("record:", "alice", "write", deny: true, conditions: """{"resource.status": "archived"}""");
            await GrantAsync("record:record-1", "alice", "delete", conditions: """{"action.soft": true}""");
            foreach (var person in (string[])["alice", "bob"]) await GrantAsync("record:", person, "write", conditions: """{"subject.role": "admin", "resource.status": "archived"}""");
            // Todo and gateway interop: who is admin, editor, viewer.
            await SetAsync("user:");
            await SetAsync("todo:");
            foreach (var route in (string[])["/users/{userId}", "/todos", "/todos/{todoId}"]) await SetAsync("route:" + route);
            foreach (var (id, mail, role) in Subjects)
            {
                await GrantAsync("user:", id, "can_read_user");
                await GrantAsync("todo:", id, "can_read_todos");
                foreach (var route in (string[])["/users/{userId}", "/todos"]) await GrantAsync("route:" + route, id, "GET");
                if (role == "viewer") continue;
                await GrantAsync("todo:", id, "can_create_todo");
                await GrantAsync("todo:", id, "can_update_todo can_delete_todo", conditions: role == "admin" ? "{}" : $$"""{"resource.ownerID": "{{mail}}"}""");
                await GrantAsync("route:/todos", id, "POST");
                await GrantAsync("route:/todos/{todoId}", id, "PUT DELETE");
            }
            // IdP interop: everybody deletes and edits what is theirs.
            foreach (var record in JsonElement.Parse(await File.ReadAllTextAsync(Vector("idp-records"))).EnumerateArray())
                await GrantAsync("record:" + record.GetProperty("id").GetString(), record.GetProperty("owner").GetString()!, "delete");
        }

        private static readonly (string Id, string Mail, string Role)[] Subjects =
        [
            ("CiRmZDA2MTRkMy1jMzlhLTQ3ODEtYjdiZC04Yjk2ZjVhNTEwMGQSBWxvY2Fs", "rick@the-citadel.com", "admin"), ("CiRmZDE2MTRkMy1jMzlhLTQ3ODEtYjdiZC04Yjk2ZjVhNTEwMGQSBWxvY2Fs", "morty@the-citadel.com", "editor"),
            ("CiRmZDI2MTRkMy1jMzlhLTQ3ODEtYjdiZC04Yjk2ZjVhNTEwMGQSBWxvY2Fs", "summer@the-smiths.com", "editor"), ("CiRmZDM2MTRkMy1jMzlhLTQ3ODEtYjdiZC04Yjk2ZjVhNTEwMGQSBWxvY2Fs", "beth@the-smiths.com", "viewer"),
            ("CiRmZDQ2MTRkMy1jMzlhLTQ3ODEtYjdiZC04Yjk2ZjVhNTEwMGQSBWxvY2Fs", "jerry@the-smiths.com", "viewer"),
        ];

        private Task<List<string>> PersonAsync(string id) => SqlAsync($"insert into people.persons (id, valid_from) values ('{id}', now() - interval '1 day'); insert into people.names (person, name, valid_from) values ('{id}', '{id}', now() - interval '1 day'); insert into people.posts (person, section, post, role, valid_from) values ('{id}', '試験課', '担当', 'operator', now() - interval '1 day')");
        private Task<List<string>> SetAsync(string resource) => SqlAsync($"insert into file_permissions.sets (resource, title, confidentiality, created_at, created_by) values ('{resource}', 'x', 1, now(), 'test') on conflict do nothing");

        internal async Task GrantAsync(string resource, string person, string actions, bool deny = false, string conditions = "{}")
        {
            await SetAsync(resource);
            await SqlAsync($"insert into file_permissions.grants (resource, subject, actions, deny, conditions, valid_from, valid_until, reason, requested_by, approved_by) values ('{resource}', 'person:{person}', string_to_array('{actions}', ' '), {deny}, '{conditions}', now() - interval '1 hour', now() + interval '1 day', 'x', 'test', 'test')");
        }
    }

    private static string Vector(string name) => Path.Combine(Place.Root, $"tests/AccessBroker.Tests/Vectors/authzen-{name}.json");

    private async Task<(HttpStatusCode Status, JsonElement Answer, HttpResponseHeaders Headers)> AskAsync(string path, string body, string? secret = null, string type = "application/json", string? id = null)
    {
        using var client = broker.Client();
        using var request = new HttpRequestMessage(HttpMethod.Post, "/access/v1/" + path) { Content = new ByteArrayContent(Encoding.UTF8.GetBytes(body)) };
        request.Content.Headers.TryAddWithoutValidation("Content-Type", type);
        request.Headers.TryAddWithoutValidation("Authorization", "Bearer " + (secret ?? broker.Enforcer));
        if (id is not null) request.Headers.Add("X-Request-ID", id);
        using var response = await client.SendAsync(request);
        var text = await response.Content.ReadAsStringAsync();
        return (response.StatusCode, text.StartsWith('{') ? JsonElement.Parse(text) : default, response.Headers);
    }

    private async Task<bool> DecideAsync(string body)
    {
        var (status, answer, _) = await AskAsync("evaluation", body);
        Assert.Equal(HttpStatusCode.OK, status);
        return answer.GetProperty("decision").GetBoolean();
    }

    private static string Body(string subject, string action, string resource, string subjectProperties = "{}", string actionProperties = "{}", string resourceProperties = "{}", string more = "") =>
        $$"""{"subject":{"type":"user","id":"{{subject}}","properties":{{subjectProperties}},"customAttr":1},"action":{"name":"{{action}}","properties":{{actionProperties}}},"resource":{"type":"record","id":"{{resource}}","properties":{{resourceProperties}}}{{more}}}""";

    /// <summary>§3.4: the eight decisions that the harness validates.</summary>
    [Theory, Trait("Requirement", "FIL-04")]
    [InlineData("alice", "read", "record-1", true), InlineData("alice", "write", "record-1", true), InlineData("bob", "read", "record-1", true), InlineData("bob", "write", "record-1", false),
     InlineData("alice", "write", "record-1", false, "{}", "{}", """{"status":"archived"}"""), InlineData("bob", "write", "record-1", true, """{"role":"admin"}""", "{}", """{"status":"archived"}"""),
     InlineData("alice", "delete", "record-1", true, "{}", """{"soft":true}"""), InlineData("alice", "delete", "record-1", false, "{}", """{"soft":false}"""),
     InlineData("mallory", "read", "record-1", false), InlineData("alice", "read", "record-9", false), InlineData("alice", "fly", "record-1", false)]
    public async Task The_decisions_of_the_certification_scenario(string subject, string action, string resource, bool allowed, string subjectProperties = "{}", string actionProperties = "{}", string resourceProperties = "{}")
    {
        Assert.Equal(allowed, await DecideAsync(Body(subject, action, resource, subjectProperties, actionProperties, resourceProperties)));
        // §3.6: context and unknown members change nothing, and asking again neither.
        Assert.Equal(allowed, await DecideAsync(Body(subject, action, resource, subjectProperties, actionProperties, resourceProperties, ""","context":{"time":"x"},"futureField":[1]""")));
    }

    /// <summary>コンピュータ、端末機、通信関係装置、通信回線、ファイル: each granted and denied by name and for all of its kind.</summary>
    [Theory, Trait("Requirement", "FIL-02"), InlineData("computer"), InlineData("terminal"), InlineData("device"), InlineData("line")]
    public async Task Every_kind_of_resource_is_granted_and_denied(string type)
    {
        Task<bool> MayAsync(string id) => DecideAsync($$"""{"subject":{"type":"operator","id":"erin"},"action":{"name":"use"},"resource":{"type":"{{type}}","id":"{{id}}"} }""");
        Assert.False(await MayAsync("one"));
        await broker.GrantAsync($"{type}:", "erin", "use");
        await broker.GrantAsync($"{type}:two", "erin", "use", deny: true);
        await Eventually.TrueAsync(() => MayAsync("one"), "the grant for all of a kind is known");
        Assert.False(await MayAsync("two"));
    }

    [Theory, InlineData("todo", 40), InlineData("gateway", 25)]
    public async Task The_published_interop_decisions(string name, int count)
    {
        var file = JsonElement.Parse(await File.ReadAllTextAsync(Vector(name)));
        var asked = 0;
        foreach (var one in file.GetProperty("evaluation").EnumerateArray())
        {
            Assert.True(one.GetProperty("expected").GetBoolean() == await DecideAsync(one.GetProperty("request").GetRawText()), one.GetRawText());
            asked++;
        }
        Assert.Equal(count, asked);
        if (!file.TryGetProperty("evaluations", out var batches)) return;
        Assert.Equal(3, batches.GetArrayLength());
        foreach (var batch in batches.EnumerateArray())
        {
            var (_, answer, _) = await AskAsync("evaluations", batch.GetProperty("request").GetRawText());
            Assert.Equal(batch.GetProperty("expected").EnumerateArray().Select(e => e.GetProperty("decision").GetBoolean()), Decisions(answer));
        }
    }

    [Fact]
    public async Task The_published_searches()
    {
        foreach (var one in JsonElement.Parse(await File.ReadAllTextAsync(Vector("idp"))).GetProperty("search").EnumerateArray())
        {
            var (_, answer, _) = await AskAsync("search/resource", one.GetProperty("request").GetRawText());
            Assert.Equal(one.GetProperty("expected").GetProperty("results").EnumerateArray().Select(r => r.GetProperty("id").GetString()!).Order(StringComparer.Ordinal), Ids(answer));
        }
    }

    private static IEnumerable<bool> Decisions(JsonElement answer) => answer.GetProperty("evaluations").EnumerateArray().Select(e => e.GetProperty("decision").GetBoolean());
    private static List<string> Ids(JsonElement answer) => [.. answer.GetProperty("results").EnumerateArray().Select(r => r.TryGetProperty("id", out var id) ? id.GetString()! : r.GetProperty("name").GetString()!)];

    [Fact]
    public async Task Batches_with_each_semantic_defaults_and_errors_of_single_items()
    {
        async Task<string> AllAsync(string body)
        {
            var (status, answer, _) = await AskAsync("evaluations", body);
            return status == HttpStatusCode.OK ? answer.TryGetProperty("evaluations", out _) ? string.Join(' ', Decisions(answer)) : $"single {answer.GetProperty("decision").GetBoolean()}" : $"{status} {answer.GetProperty("field").GetString()}";
        }
        const string Bob = """ "subject":{"type":"user","id":"bob"},"resource":{"type":"record","id":"record-1"} """, Read = """{"action":{"name":"read"}}""", Write = """{"action":{"name":"write"}}""";
        Assert.Equal("True False True", await AllAsync($$"""{{{Bob}},"evaluations":[{{Read}},{{Write}},{{Read}}]}"""));
        Assert.Equal("True False True", await AllAsync($$"""{{{Bob}},"options":{"evaluations_semantic":"execute_all"},"evaluations":[{{Read}},{{Write}},{{Read}}]}"""));
        Assert.Equal("True False", await AllAsync($$"""{{{Bob}},"options":{"evaluations_semantic":"deny_on_first_deny"},"evaluations":[{{Read}},{{Write}},{{Read}}]}"""));
        Assert.Equal("False True", await AllAsync($$"""{{{Bob}},"options":{"evaluations_semantic":"permit_on_first_permit"},"evaluations":[{{Write}},{{Read}},{{Read}}]}"""));
        Assert.Equal("BadRequest options.evaluations_semantic", await AllAsync($$"""{{{Bob}},"options":{"evaluations_semantic":"whatever"},"evaluations":[{{Read}}]}"""));
        Assert.Equal("True False", await AllAsync($$"""{{{Bob}},"action":{"name":"write"},"evaluations":[{{Read}},{}]}"""));
        // The type comes from the default, the id from the item.
        Assert.Equal("True False", await AllAsync("""{"subject":{"type":"user","id":"bob"},"action":{"name":"read"},"resource":{"type":"record"},"evaluations":[{"resource":{"id":"record-1"} },{"resource":{"type":"todo","id":"record-1"} }]}"""));
        Assert.Equal("False", await AllAsync("""{"action":{"name":"read"},"resource":{"type":"record","id":"record-1"},"evaluations":[{}]}"""));
        Assert.Equal("single True", await AllAsync($$"""{{{Bob}},"action":{"name":"read"} }"""));
        Assert.Equal("single True", await AllAsync($$"""{{{Bob}},"action":{"name":"read"},"evaluations":[]}"""));
        Assert.Equal("BadRequest evaluations", await AllAsync($$"""{{{Bob}},"evaluations":{"a":1} }"""));
    }

    [Fact]
    public async Task Searches_of_the_certification_scenario_page_by_page()
    {
        async Task<List<string>> FindAsync(string what, string body) => Ids((await AskAsync("search/" + what, body)).Answer);
        var readers = await FindAsync("subject", """{"subject":{"type":"user"},"action":{"name":"read"},"resource":{"type":"record","id":"record-1"}}""");
        Assert.Equal(["alice", "bob"], readers);
        Assert.Equal(readers, await FindAsync("subject", """{"subject":{"type":"user","id":"alice"},"action":{"name":"read"},"resource":{"type":"record","id":"record-1"},"context":{},"page":{"customAttr":1}}"""));
        Assert.Contains("bob", await FindAsync("subject", """{"subject":{"type":"user"},"action":{"name":"write"},"resource":{"type":"record","id":"record-2","properties":{"status":"archived"}}}"""));
        Assert.Contains("record-1", await FindAsync("resource", """{"subject":{"type":"user","id":"alice"},"action":{"name":"read"},"resource":{"type":"record","id":"record-7"}}"""));
        Assert.Contains("record-2", await FindAsync("resource", """{"subject":{"type":"user","id":"bob","properties":{"role":"admin"}},"action":{"name":"write"},"resource":{"type":"record"}}"""));
        Assert.Equal(["read", "write"], await FindAsync("action", """{"subject":{"type":"user","id":"alice"},"action":{"name":"x"},"resource":{"type":"record","id":"record-1"}}"""));
        Assert.Contains("write", await FindAsync("action", """{"subject":{"type":"user","id":"bob","properties":{"role":"admin"}},"resource":{"type":"record","id":"record-2","properties":{"status":"archived"}}}"""));
        Assert.Empty(await FindAsync("action", """{"subject":{"type":"user","id":"nobody"},"resource":{"type":"record","id":"record-1"}}"""));
        // Four records of alice, one at a time; the last page says so.
        var (all, token) = (new List<string>(), "");
        for (var page = 0; page < 4; page++)
        {
            var (_, answer, _) = await AskAsync("search/resource", $$$"""{"subject":{"type":"user","id":"alice"},"action":{"name":"delete"},"resource":{"type":"record"},"page":{"limit":1,"token":"{{{token}}}"}}""");
            all.AddRange(Ids(answer));
            token = answer.GetProperty("page").GetProperty("next_token").GetString()!;
        }
        Assert.Equal(["101", "107", "113", "119"], all);
        Assert.Equal("", token);
    }

    [Theory]
    [InlineData("""{"action":{"name":"read"},"resource":{"type":"record","id":"r"}}""", "subject"), InlineData("""{"subject":{"type":"user","id":"a"},"resource":{"type":"record","id":"r"}}""", "action"),
     InlineData("""{"subject":{"type":"user","id":"a"},"action":{"name":"read"}}""", "resource"), InlineData("""{"subject":{"id":"a"},"action":{"name":"read"},"resource":{"type":"record","id":"r"}}""", "subject.type"),
     InlineData("""{"subject":{"type":"user"},"action":{"name":"read"},"resource":{"type":"record","id":"r"}}""", "subject.id"), InlineData("""{"subject":{"type":"user","id":"a"},"action":{},"resource":{"type":"record","id":"r"}}""", "action.name"),
     InlineData("""{"subject":{"type":"user","id":"a"},"action":{"name":"read"},"resource":{"id":"r"}}""", "resource.type"), InlineData("""{"subject":{"type":"user","id":"a"},"action":{"name":"read"},"resource":{"type":"record"}}""", "resource.id"),
     InlineData("""{"subject":"alice","action":{"name":"read"},"resource":{"type":"record","id":"r"}}""", "subject"), InlineData("""{"subject":{"type":"user","id":"a"},"action":{"name":5},"resource":{"type":"record","id":"r"}}""", "action.name"),
     InlineData("[]", "body"), InlineData("{", "body"), InlineData("", "body"), InlineData("""{"subject":{"type":"user","id":"a"},"subject":{"type":"user","id":"b"},"action":{"name":"read"},"resource":{"type":"record","id":"r"}}""", "body"),
     InlineData("""{"subject":{"type":"user","id":"a","properties":[]},"action":{"name":"read"},"resource":{"type":"record","id":"r"}}""", "subject.properties"), InlineData("""{"subject":{"type":"user","id":""},"action":{"name":"read"},"resource":{"type":"record","id":"r"}}""", "subject.id")]
    public async Task A_malformed_body_is_answered_with_the_field(string body, string field)
    {
        var (status, answer, _) = await AskAsync("evaluation", body);
        Assert.Equal((HttpStatusCode.BadRequest, field), (status, answer.GetProperty("field").GetString()));
    }

    [Fact]
    public async Task The_wire_is_as_the_standard_says()
    {
        var body = Body("alice", "read", "record-1");
        Assert.Equal(["id-7"], (await AskAsync("evaluation", body, id: "id-7")).Headers.GetValues("X-Request-ID"));
        Assert.Equal(HttpStatusCode.UnsupportedMediaType, (await AskAsync("evaluation", body, type: "text/plain")).Status);
        Assert.Equal(HttpStatusCode.OK, (await AskAsync("evaluation", body, type: "application/json; charset=utf-8")).Status);
        foreach (var wrong in (string[])["", "nonsense", AccessBroker.Primitives.Secret.New()])
        {
            var (status, _, headers) = await AskAsync("evaluation", body, secret: wrong);
            Assert.Equal((HttpStatusCode.Unauthorized, "Bearer"), (status, headers.WwwAuthenticate.ToString()));
        }
        using var client = broker.Client();
        foreach (var path in (string[])["evaluation", "evaluations", "search/subject", "search/resource", "search/action"])
            using (var got = await client.GetAsync(new Uri("/access/v1/" + path, UriKind.Relative))) Assert.Equal(HttpStatusCode.MethodNotAllowed, got.StatusCode);
        var metadata = JsonElement.Parse(await client.GetStringAsync(new Uri("/.well-known/authzen-configuration", UriKind.Relative)));
        Assert.Equal(broker.Issuer, metadata.GetProperty("policy_decision_point").GetString());
        Assert.Equal(broker.Issuer + "/access/v1/search/action", metadata.GetProperty("search_action_endpoint").GetString());
    }

    /// <summary>A path that nobody could canonicalise is denied, not answered with an error: an enforcement point must not tell them apart.</summary>
    [Fact, Trait("Requirement", "FIL-01")]
    public async Task Paths_have_one_form_or_none()
    {
        await broker.SqlAsync("insert into file_permissions.sets (resource, title, confidentiality, created_at, created_by) values ('/公開', 'x', 1, now(), 'test') on conflict do nothing");
        await broker.GrantAsync("/公開", "alice", "read");
        Task<bool> MayAsync(string path) => DecideAsync($$"""{"subject":{"type":"user","id":"alice"},"action":{"name":"read"},"resource":{"type":"file","id":{{JsonSerializer.Serialize(path)}} } }""");
        await Eventually.TrueAsync(() => MayAsync("/公開/a.txt"), "the grant is known");
        // か and the combining mark are が: one form.
        await broker.GrantAsync("/公開/が", "alice", "write");
        Assert.True(await MayAsync("/公開/か\u3099/x"));
        foreach (var path in (string[])["/公開/../秘密", "/公開/./a", "/公開//a", "/公開/a/", "公開/a", "/公開/a\\b", "/公開/a%2e", "/公開/\u202Ea", "/公開/a ", "/公開/" + new string('a', 256), "/" + string.Join('/', Enumerable.Repeat("公開", 700)), "/公開x/a"]) Assert.False(await MayAsync(path), path);
    }

    /// <summary>Properties belong to the entity they were sent with: an item that names another one gets none of the default's.</summary>
    [Fact, Trait("Requirement", "FIL-04")]
    public async Task Properties_do_not_leak_from_the_default_into_an_item()
    {
        using var client = broker.Client();
        client.DefaultRequestHeaders.Authorization = new("Bearer", broker.Enforcer);
        var body = """
            {"subject": {"type": "user", "id": "alice"}, "action": {"name": "write"}, "resource": {"type": "record", "id": "record-1", "properties": {"status": "archived"} },
             "evaluations": [{}, {"resource": {"id": "record-2"} }, {"resource": {"properties": {"status": "open"} } }, {"resource": {"type": "record", "id": "record-2", "properties": {"status": "archived"} } }]}
            """;
        using var answer = await client.PostAsync(new Uri("/access/v1/evaluations", UriKind.Relative), new StringContent(body, System.Text.Encoding.UTF8, "application/json"));
        Assert.Equal([false, true, true, false], JsonElement.Parse(await answer.Content.ReadAsByteArrayAsync()).GetProperty("evaluations").EnumerateArray().Select(e => e.GetProperty("decision").GetBoolean()));
    }
}
