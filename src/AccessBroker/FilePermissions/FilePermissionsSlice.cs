using AccessBroker.Approvals;
using AccessBroker.Notices;
using AccessBroker.Registers;
using AccessBroker.Web;

namespace AccessBroker.FilePermissions;

internal static class FilePermissionsSlice
{
    internal static void AddFilePermissions(this IServiceCollection services)
    {
        services.AddSingleton<EnforcerKeys>().AddSingleton<GrantUses>().AddHostedService(p => p.GetRequiredService<GrantUses>()).AddSingleton<FileBatches>().AddSingleton<EndGrants>().AddSingleton<TemporaryGrants>().AddSingleton<FileReviews>().AddSingleton<FileClock>().AddHostedService(p => p.GetRequiredService<FileClock>()).AddSingleton<ITaskSource, FileTasks>();
        services.AddSingleton<FileDecisions>().AddHostedService(p => p.GetRequiredService<FileDecisions>());
        services.AddSingleton<RequestKind, GrantFilesKind>().AddSingleton<RequestKind, ExportFilesKind>().AddSingleton<RequestKind, DisposeFilesKind>().AddSingleton<RequestKind, LiftDenialKind>().AddSingleton<RequestKind, ClassifyFilesKind>();
        services.AddSingleton(new MenuEntry("ファイルの利用権限", "/files", 38, ["files.read"]));
        services.AddSingleton(new Register(FileRequest.Register, "ファイル利用権限管理簿", "MOJ 第5-4(4); MIC 6.2", "registers.read",
            [("path", "場所"), ("subject", "相手・所管"), ("actions", "できること・呼び名"), ("effect", "効力"), ("upTo", "機密性"), ("from", "開始"), ("until", "終了"), ("reason", "理由")]));
    }
}
