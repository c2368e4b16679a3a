using System.Text;
using QRCoder;

namespace AccessBroker.OneTimeCodes;

/// <summary>A QR code as one SVG path: no bitmap, no inline style, nothing that the content policy of the pages would refuse.</summary>
internal static class QrCode
{
    /// <summary>The edge in modules, quiet zone of four included, and the path of the dark ones.</summary>
    internal static (int Edge, string Path) Of(string text)
    {
        using var made = QRCodeGenerator.GenerateQrCode(text, QRCodeGenerator.ECCLevel.M);
        var path = new StringBuilder();
        for (var y = 0; y < made.ModuleMatrix.Count; y++)
            for (var x = 0; x < made.ModuleMatrix.Count; x++)
                if (made.ModuleMatrix[y][x]) path.Append(System.Globalization.CultureInfo.InvariantCulture, $"M{x} {y}h1v1h-1z");
        return (made.ModuleMatrix.Count, path.ToString());
    }
}
