using AccessBroker.Database;

namespace AccessBroker.History;

internal static class HistorySlice
{
    internal static void AddHistory(this IServiceCollection services, string dataDirectory)
    {
        services.AddSingleton(p => new HistorySpool(dataDirectory, p.GetRequiredService<Store>(), p.GetRequiredService<VitalStore>(), p.GetRequiredService<ILogger<HistorySpool>>()));
        services.AddHostedService(p => p.GetRequiredService<HistorySpool>());
        services.AddSingleton<Coalescer>();
        services.AddSingleton(new Web.MenuEntry("操作履歴", "/history", 75, ["history.read"]));
        services.AddSingleton<Web.IHealthReport, HistoryHealth>();
        services.AddHostedService(p => p.GetRequiredService<Coalescer>());
    }

    internal static void UseRefusalHistory(this IApplicationBuilder app) => app.UseMiddleware<RefusalMiddleware>();

    /// <summary>Stands right after authorization.</summary>
    internal static void NoteAuthorized(this IApplicationBuilder app) => app.Use((context, next) =>
    {
        context.Items[RefusalMiddleware.Passed] = true;
        return next(context);
    });
}
