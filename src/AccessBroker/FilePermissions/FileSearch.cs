using AccessBroker.Database;

namespace AccessBroker.FilePermissions;

/// <summary>What enforcement points ask beside decisions: the public queries of this slice.</summary>
public static class FileSearch
{
    /// <summary>The name of the enforcement point with this secret; null: none, or revoked.</summary>
    public static Question<string?> Enforcer(byte[] secretHash) => Question.First($"select name from file_permissions.enforcers where secret_hash = {secretHash} and revoked_at is null", r => r.GetString(0));

    /// <summary>People who may, by id, after <paramref name="after"/>.</summary>
    public static Question<List<string>> WhoMay(string resource, string action, DateTimeOffset at, string properties, string after, int count) => Question.All(
        $"select p from unnest(people.acting_as({FileRegister.Subjects(resource, at)}, {at})) p where p > {after} collate \"C\" and (file_permissions.decide(p, {resource}, {action}, {at}, {properties:json})).allowed order by p collate \"C\" limit {count}", r => r.GetString(0));

    /// <summary>Registered resources of a type (null: places of files) that a person may, by name, after <paramref name="after"/>.</summary>
    public static Question<List<string>> WhatMay(string person, string? type, string action, DateTimeOffset at, string properties, string after, int count) => Question.All($"""
        select r from (select resource r from file_permissions.sets where case when {type}::text is null then left(resource, 1) = '/' else left(resource, length({type ?? ""}) + 1) = {type + ":"} and length(resource) > length({type ?? ""}) + 1 end) all_of_them
        where r > {after} collate "C" and (file_permissions.decide({person}, r, {action}, {at}, {properties:json})).allowed order by r collate "C" limit {count}
        """, r => r.GetString(0));

    /// <summary>Every action that any grant on these resources names.</summary>
    public static Question<List<string>> ActionsOn(IEnumerable<string> resources) => Question.All($"select distinct a from file_permissions.grants g, unnest(g.actions) a where g.resource = any({resources.ToArray()}) and g.ended_at is null order by a", r => r.GetString(0));
}
