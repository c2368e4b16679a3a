using System.Text.Encodings.Web;
using System.Text.Json;
using AccessBroker.Database;

namespace AccessBroker.Registers;

/// <summary>A register (管理簿) that a slice keeps: its name, its Japanese title, its columns in order. Registered in the container by the slice.</summary>
/// <param name="Name">Of entries and URLs.</param>
/// <param name="Title">様式の題名.</param>
/// <param name="Clause">Why it is kept.</param>
/// <param name="Operation">Who may read it: an operation of roles.yaml.</param>
/// <param name="Columns">Field name and Japanese heading.</param>
public sealed record Register(string Name, string Title, string Clause, string Operation, IReadOnlyList<(string Field, string Heading)> Columns)
{
    /// <summary>Columns with names of people: their ids are shown with the name of that day.</summary>
    public IReadOnlyList<string> PersonColumns { get; init; } = [];

    /// <summary>Columns with codes: how a code is shown. The entry keeps the code.</summary>
    public IReadOnlyDictionary<string, Func<string, string>> Words { get; init; } = new Dictionary<string, Func<string, string>>();
}

/// <summary>One line of a register as of a day, or one entry of its course.</summary>
public sealed record RegisterLine(string Subject, DateTimeOffset At, string By, string What, IReadOnlyDictionary<string, string> Fields);

/// <summary>Adds to registers and reads them as of any day. <clause>INA 第14(5)</clause></summary>
public static class RegisterLog
{
    private static readonly JsonSerializerOptions Format = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    /// <summary>Enters the state of a subject, whole, with the unit of work that made it so. A correction is another entry.</summary>
    public static void Enter(this UnitOfWork work, string register, string subject, string what, string by, IReadOnlyDictionary<string, string> fields, DateTimeOffset at, bool removed = false) => work.Write($"""
        insert into registers.entries (register, subject, at, by, what, fields, removed) values ({register}, {subject}, {at}, {by}, {what}, {JsonSerializer.Serialize(fields, Format):json}, {removed})
        """);

    /// <summary>The register as it was at an instant: by subject.</summary>
    public static Question<List<RegisterLine>> AsOf(string register, DateTimeOffset at) => Question.All($"""
        select subject, at, by, what, fields from (select distinct on (subject) subject, at, by, what, fields, removed from registers.entries where register = {register} and at <= {at} order by subject, at desc, id desc) as latest
        where not removed order by subject
        """, Read);

    /// <summary>Everything that was entered about a subject, oldest first.</summary>
    public static Question<List<RegisterLine>> Course(string register, string subject) =>
        Question.All($"select subject, at, by, what, fields from registers.entries where register = {register} and subject = {subject} order by id", Read);

    private static RegisterLine Read(Npgsql.NpgsqlDataReader r) =>
        new(r.GetString(0), r.GetFieldValue<DateTimeOffset>(1), r.GetString(2), r.GetString(3), JsonSerializer.Deserialize<Dictionary<string, string>>(r.GetString(4))!);
}
