namespace AccessBroker.FilePermissions;

internal static class FilePermissionsSlice
{
    internal static void AddFilePermissions(this IServiceCollection services)
    {
        services.AddSingleton<FileDecisions>().AddHostedService(p => p.GetRequiredService<FileDecisions>());
    }
}
