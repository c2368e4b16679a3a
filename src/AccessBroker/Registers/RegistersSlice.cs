using AccessBroker.Web;

namespace AccessBroker.Registers;

internal static class RegistersSlice
{
    internal static void AddRegisters(this IServiceCollection services) => services.AddSingleton<Exports>()
        .AddSingleton(new MenuEntry("管理簿", "/registers", 80, Operations: ["registers.read"]))
        // 様式第1号: what is not a terminal is entered by hand.
        .AddSingleton(new Register("configuration", "住基ネット構成管理簿(プログラム・磁気媒体・その他の機器)", "INA 第14(5)", "registers.read",
            [("kind", "区分"), ("name", "名称"), ("version", "型番・版"), ("place", "設置・保管場所"), ("responsible", "管理責任者"), ("remarks", "備考")]));
}
