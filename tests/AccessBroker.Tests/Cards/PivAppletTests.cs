using CardSimulator;
using FsCheck;
using FsCheck.Fluent;

namespace AccessBroker.Tests.Cards;

/// <summary>The simulated card against SP 800-73-4, APDU by APDU.</summary>
public sealed class PivAppletTests
{
    private readonly CardState _state = CardState.Blank("test");
    private readonly PivApplet _card;

    public PivAppletTests()
    {
        _card = new(_state, () => { });
        Assert.EndsWith("9000", Send("00A404000BA000000308000010000100"), StringComparison.Ordinal);
    }

    private string Send(string apdu) => Convert.ToHexString(_card.Transmit(Convert.FromHexString(apdu)));

    private static string Pin(string pin) => Convert.ToHexString(CardState.Pad(pin));

    [Fact]
    public void Verify_counts_down_blocks_and_resets()
    {
        Assert.Equal("63C6", Send("00200080"));
        for (var left = 5; left > 0; left--) Assert.Equal($"63C{left}", Send($"0020008008{Pin("000000")}"));
        Assert.Equal("6983", Send($"0020008008{Pin("000000")}"));
        Assert.Equal("6983", Send($"0020008008{Pin("123456")}"));
        Assert.Equal("9000", Send($"002C008010{Pin("12345678")}{Pin("654321")}"));
        Assert.Equal("9000", Send($"0020008008{Pin("654321")}"));
        Assert.Equal(6, _state.PinLeft);
    }

    [Fact]
    public void A_pin_of_the_wrong_form_costs_no_try()
    {
        Assert.Equal("6A80", Send($"0020008008{Pin("12")}"));
        Assert.Equal("6A80", Send("0020008004FFFFFFFF"));
        Assert.Equal("63C6", Send("00200080"));
    }

    [Fact]
    public void Each_key_asks_for_the_pin_as_the_standard_says()
    {
        foreach (var slot in (byte[])[0x9A, 0x9C, 0x9E]) _state.Keys[slot] = new(0x11, System.Security.Cryptography.ECDsa.Create(System.Security.Cryptography.ECCurve.NamedCurves.nistP256).ExportPkcs8PrivateKey());
        string Sign(string slot) => Send($"008711{slot}267C2482008120{new string('A', 64)}")[^4..];
        Assert.Equal("6982", Sign("9A"));
        Assert.Equal("6982", Sign("9C"));
        Assert.Equal("9000", Sign("9E"));
        Assert.Equal("9000", Send($"0020008008{Pin("123456")}"));
        Assert.Equal("9000", Sign("9C"));
        Assert.Equal("6982", Sign("9C"));
        Assert.Equal("9000", Sign("9A"));
        Assert.Equal("9000", Sign("9A"));
        Assert.Equal("63C5", Send($"0020008008{Pin("999999")}"));
        Assert.Equal("6982", Sign("9A"));
        _card.Reset();
        Assert.Equal("6D00", Sign("9A"));
    }

    [Fact]
    public void Nothing_is_written_or_generated_without_the_management_key()
    {
        Assert.Equal("6982", Send("00DB3FFF0B5C035FC1055304700101FE"));
        Assert.Equal("6982", Send("0047009A05AC03800111"));
        Assert.Equal("6982", Send($"00FFFFFF1B039B18{new string('1', 48)}"));
    }

    [Fact]
    public void No_apdu_makes_the_card_throw() => Check.QuickThrowOnFailure(Prop.ForAll(ArbMap.Default.ArbFor<byte[]>(), apdu => apdu is null || _card.Transmit(apdu).Length >= 2));

    [Theory]
    [InlineData("7C028100"), InlineData("7C"), InlineData("7C81"), InlineData("7C8200"), InlineData("7CFF00"), InlineData("5C03"), InlineData("00")]
    public void Malformed_templates_are_a_status_word(string data)
    {
        Assert.Matches("6A8[068]|6982", Send($"0087119A{data.Length / 2:X2}{data}"));
        Assert.Matches("6A8[026]", Send($"00CB3FFF{data.Length / 2:X2}{data}"));
    }
}
