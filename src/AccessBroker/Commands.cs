using System.Text.Json;
using AccessBroker.Cards;
using AccessBroker.Database;
using AccessBroker.History;
using AccessBroker.Keys;
using AccessBroker.Primitives;
using AccessBroker.Sessions;
using AccessBroker.Setup;
using AccessBroker.Terminals;
using AccessBroker.Web;
using Npgsql;

namespace AccessBroker;

/// <summary>The subcommands beside <c>serve</c>. Each takes its configuration from appsettings as <c>serve</c> does; exit 0 done, 1 failed, 2 wrong call.</summary>
internal static class Commands
{
    private const string Usage = """
        AccessBroker serve                             the server
        AccessBroker migrate                           brings the database up to date, as the owner role
        AccessBroker keys create                       makes the HSM keys and the CA certificates, through the ceremony socket
        AccessBroker init FILE                         the first day: first administrator, PIN manager and station (JSON), prints their codes, once
        AccessBroker init --new-codes                  new codes while the first day is not over
        AccessBroker seed FILE                         people, terminals, grants and relying parties of a JSON file, as the owner role
        AccessBroker terminals enrolment-code TERMINAL prints a one-time code for the terminal's agent
        AccessBroker cards issue PERSON < KEYS         certifies a card's keys (JSON), prints the certificates (JSON)
        AccessBroker policies adopt                    makes the policy files on disk the version in force, without a second person, as the owner role
        AccessBroker passkeys import FILE              takes a FIDO metadata file (MDS3), judges the enrolled keys anew, as the owner role
        AccessBroker files enforcer NAME [PLACE]       makes the secret of an enforcement point (AuthZEN), prints it once, as the owner role; below PLACE it may run bulk updates
        AccessBroker files revoke NAME                 the enforcement point is refused from now on, as the owner role
        AccessBroker targets enrolment-code TARGET     prints a one-time code for the agent of a target of privileged work
        AccessBroker targets revoke TARGET             its agent is refused from now on
        AccessBroker targets ssh-ca                    prints the CA that sshd is to trust (TrustedUserCAKeys)
        AccessBroker cards lost CARD                   the card opens nothing from now on
        """;

    internal static async Task<int> RunAsync(string[] args)
    {
        var configuration = new ConfigurationBuilder().SetBasePath(AppContext.BaseDirectory).AddJsonFile("appsettings.json", optional: true).AddEnvironmentVariables().Build();
        try { return await RunAsync(args, configuration, CancellationToken.None); }
        catch (Exception e) when (e is InvalidOperationException or NpgsqlException or Microsoft.EntityFrameworkCore.DbUpdateException or HsmUnavailableException or HsmKeyRefusedException or Policies.PolicyException or Pkcs11Exception or Passkeys.MetadataException or System.Security.Cryptography.CryptographicException or IOException or JsonException or FormatException)
        {
            await Console.Error.WriteLineAsync($"AccessBroker: {e.Message}{(e.InnerException is { } inner ? $" ({inner.Message})" : "")}");
            return 1;
        }
    }

    private static async Task<int> RunAsync(string[] args, IConfiguration configuration, CancellationToken ct)
    {
        var (broker, hsm) = Configuration.Read(configuration, forServing: false);
        switch (args)
        {
            case ["migrate"]:
                foreach (var name in await Migrations.ApplyAsync(broker.DatabaseOwner, ct)) await Console.Out.WriteLineAsync($"applied {name}");
                return 0;
            case ["keys", "create"]:
                await KeyCeremony.CreateAsync(hsm, broker.CaDirectory, TimeProvider.System, ct);
                return 0;
            case ["policies", "adopt"]:
                await using (var owner = new Store(NpgsqlDataSource.Create(broker.DatabaseOwner)))
                {
                    var texts = Policies.PolicySet.ReadDirectory(broker.PolicyDirectory, broker.Segment);
                    Policies.PolicySet.Of(PolicyChanges.PolicyChangesSlice.AllFiles(broker.PolicyDirectory), texts);
                    await Console.Out.WriteLineAsync($"version {await PolicyChanges.PolicySwitch.AdoptAsync(owner, texts, "adopt", TimeProvider.System, ct)}");
                }
                return 0;
            case ["files", "enforcer", var name, .. var places] when places.Length <= 1:
                await using (var owner = new Store(NpgsqlDataSource.Create(broker.DatabaseOwner))) await Console.Out.WriteLineAsync(await FilePermissions.Enforcers.MakeAsync(owner, name, places.FirstOrDefault(), TimeProvider.System, ct));
                return 0;
            case ["files", "revoke", var name]:
                await using (var owner = new Store(NpgsqlDataSource.Create(broker.DatabaseOwner))) await Console.Out.WriteLineAsync(await FilePermissions.Enforcers.RevokeAsync(owner, name, TimeProvider.System, ct));
                return 0;
            case ["init", var file]:
                await using (var owner = new Store(NpgsqlDataSource.Create(broker.DatabaseOwner)))
                {
                    var codes = file == "--new-codes" ? await FirstDay.RenewAsync(owner, TimeProvider.System, ct) : await FirstDay.BeginAsync(owner, JsonSerializer.Deserialize<FirstDay.Given>(await File.ReadAllTextAsync(file, ct), JsonSerializerOptions.Web)!, TimeProvider.System, ct);
                    await Console.Out.WriteLineAsync($"administrator {codes.Administrator}\npin-manager {codes.PinManager}\nenrolment {codes.Enrolment}\nopen within 8 hours, at the station: {broker.Issuer}/setup");
                }
                return 0;
            case ["seed", var file]:
                await using (var owner = new Store(NpgsqlDataSource.Create(broker.DatabaseOwner))) await Seed.RunAsync(owner, JsonSerializer.Deserialize<Seed.City>(await File.ReadAllTextAsync(file, ct), JsonSerializerOptions.Web)!, TimeProvider.System, ct);
                return 0;
        }
        await using var services = Services(broker, hsm);
        switch (args)
        {
            case ["terminals", "enrolment-code", var terminal]:
                await Console.Out.WriteLineAsync(await services.GetRequiredService<EnrolTerminal>().MakeCodeAsync(TerminalId.Parse(terminal), null, ct));
                return 0;
            case ["targets", "enrolment-code", var target]:
                await Console.Out.WriteLineAsync(await services.GetRequiredService<Privileged.EnrolTarget>().MakeCodeAsync(target, ct));
                return 0;
            case ["targets", "revoke", var target]:
                await Console.Out.WriteLineAsync($"{await services.GetRequiredService<Privileged.EnrolTarget>().RevokeAsync(target, ct)} certificate(s) revoked");
                return 0;
            case ["targets", "ssh-ca"]:
                await Console.Out.WriteLineAsync(await services.GetRequiredService<Privileged.SshCertificates>().AuthorityAsync(ct));
                return 0;
            case ["cards", "issue", var person]:
                var keys = JsonSerializer.Deserialize<IssueCard.CardKeys>(await Console.In.ReadToEndAsync(ct), Ids)!;
                await Console.Out.WriteLineAsync(JsonSerializer.Serialize(await services.GetRequiredService<IssueCard>().RunAsync(keys, PersonId.Parse(person), ct), Ids));
                return 0;
            case ["passkeys", "import", var file]:
                if (broker.MetadataRoot.Length == 0) throw new InvalidOperationException("Broker:MetadataRoot is not set: no root vouches for the file");
                await using (var owner = new Store(NpgsqlDataSource.Create(broker.DatabaseOwner)))
                using (var root = System.Security.Cryptography.X509Certificates.X509CertificateLoader.LoadCertificateFromFile(broker.MetadataRoot))
                {
                    var imported = await Passkeys.ImportMetadata.RunAsync(owner, services.GetRequiredService<CardChange>(), services.GetRequiredService<Sessions.LiveSessions>(), await File.ReadAllBytesAsync(file, ct), root, broker.MetadataSigner, TimeProvider.System, ct);
                    await Console.Out.WriteLineAsync($"number {imported.Number}, {imported.Models} models, next update {imported.NextUpdate:yyyy-MM-dd}; {imported.Revoked} enrolled keys revoked");
                }
                return 0;
            case ["cards", "lost", var card]:
                if (await CardChange.NarrowAsync(services.GetRequiredService<CardChange>(), services.GetRequiredService<HistorySpool>(), CardId.Parse(card), "report-lost", "紛失届", CardChange.Clock, new Dictionary<string, string>())) return 0;
                await Console.Error.WriteLineAsync("AccessBroker: no such card");
                return 1;
            default:
                await Console.Error.WriteLineAsync(Usage);
                return 2;
        }
    }

    internal static readonly JsonSerializerOptions Ids = new(JsonSerializerDefaults.Web) { Converters = { new IdConverter() } };

    private static ServiceProvider Services(BrokerOptions broker, HsmOptions hsm)
    {
        var services = new ServiceCollection().AddLogging().AddSingleton(broker).AddSingleton(TimeProvider.System);
        services.AddDatabase(broker.Database, "");
        services.AddHistory(broker.DataDirectory);
        services.AddKeys(hsm, broker.CaDirectory);
        services.AddSessions(broker.PolicyDirectory, broker.Node);
        services.AddCards(broker.PolicyDirectory);
        services.AddSingleton<EnrolTerminal>().AddSingleton<Privileged.EnrolTarget>().AddSingleton<Privileged.SshCertificates>();
        Policies.PolicyFiles.AddPolicy<Privileged.PrivilegedPolicy>(services, broker.PolicyDirectory, "privileged");
        return services.BuildServiceProvider();
    }
}
