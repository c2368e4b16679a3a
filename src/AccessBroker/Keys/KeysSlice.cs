namespace AccessBroker.Keys;

internal static class KeysSlice
{
    internal static void AddKeys(this IServiceCollection services, HsmOptions options, string caDirectory)
    {
        services.AddSingleton(options);
        services.AddSingleton<Pkcs11Hsm>();
        services.AddSingleton<IHsm>(p => p.GetRequiredService<Pkcs11Hsm>());
        services.AddSingleton(p => new CertificateAuthorities(p.GetRequiredService<IHsm>(), options, caDirectory));
        services.AddSingleton<TokenSigner>();
        services.AddSingleton<CardSecrets>();
        services.AddSingleton<Web.IHealthReport, HsmHealth>();
    }
}
