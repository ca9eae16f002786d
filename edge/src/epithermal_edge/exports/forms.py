"""Name every form of correction, response and advice that a station can use, with its papers."""

from __future__ import annotations

from dataclasses import dataclass

from epithermal_edge.physics.response_forms import RESPONSES


@dataclass(frozen=True, slots=True)
class Form:
    """One form of a correction or method."""

    sentence: str  # for the methods section; present tense
    references: tuple[str, ...]  # keys of REFERENCES; empty: nothing is done


_RESPONSES = {"cosmic": "Shuttleworth2013", "desilets": "Desilets2010"}
_RESPONSES |= {name: "Koehli2021" for name in RESPONSES if name.startswith("uts2021")}
_RESPONSES |= {name: "Koehli2026" for name in RESPONSES if name.startswith("uts2025")}

FORMS = {
    **{
        f"site.response={name}": Form(
            "Corrected counts are inverted to a water content over a uniform profile by"
            f" {RESPONSES[name].title}.",
            (key,),
        )
        for name, key in _RESPONSES.items()
    },
    "pressure": Form(
        "Counts are corrected for air pressure by an exponential function.", ("Zreda2012",)
    ),
    "site.beta_form=desilets_zreda2003": Form(
        "The barometric coefficient follows from cutoff rigidity and atmospheric depth.",
        ("Desilets2003",),
    ),
    "site.beta_form=desilets2021": Form(
        "The barometric coefficient follows from cutoff rigidity and atmospheric depth.",
        ("Desilets2021",),
    ),
    "site.beta_form=tirado_bueno2021": Form(
        "The barometric coefficient follows from cutoff rigidity.",
        ("TiradoBueno2021",),
    ),
    "humidity": Form(
        "Counts are corrected for absolute air humidity, computed from temperature and relative"
        " humidity.",
        ("Rosolem2013", "WMO2018"),
    ),
    "humidity=uts2021": Form(
        "Counts are corrected for absolute air humidity as in the universal transport solution.",
        ("Koehli2021", "WMO2018"),
    ),
    "humidity=uts2025": Form(
        "Counts are corrected for absolute air humidity as in the inverse UTS.",
        ("Koehli2026", "WMO2018"),
    ),
    "site.incoming.form=none": Form(
        "Counts are not corrected for changes of the incoming cosmic radiation.", ()
    ),
    "site.incoming.form=plain": Form(
        "Counts are corrected for incoming cosmic radiation by the ratio of a neutron monitor's"
        " reference to its count rate.",
        ("Zreda2012",),
    ),
    "site.incoming.form=hawdon2014": Form(
        "Counts are corrected for incoming cosmic radiation with a neutron monitor, scaled by"
        " cutoff rigidity.",
        ("Hawdon2014",),
    ),
    "site.incoming.form=mcjannet2023": Form(
        "Counts are corrected for incoming cosmic radiation with a neutron monitor, scaled by"
        " cutoff rigidity and atmospheric depth.",
        ("McJannet2023",),
    ),
    "site.incoming.source=monitor": Form(
        "The incoming cosmic radiation is that of a neutron monitor.", ("Zreda2012",)
    ),
    "site.incoming.source=muons": Form(
        "Counts are corrected for incoming cosmic radiation by the detector's own muon counts,"
        " which are corrected for air pressure and temperature and averaged over hours.",
        ("Stevanato2022", "Gianessi2024", "Bernero2013", "Riadigos2020"),
    ),
    "vegetation": Form(
        "Counts are corrected for biomass by a linear loss of counts with a slope of its own.",
        ("Baatz2015",),
    ),
    "site.biomass_form=baatz2015": Form(
        "Counts are corrected for dry above-ground biomass by a linear loss of counts.",
        ("Baatz2015",),
    ),
    "site.biomass_form=baatz2015_bwe": Form(
        "Counts are corrected for biomass water equivalent by a linear loss of counts.",
        ("Baatz2015",),
    ),
    "site.biomass_form=morris2024": Form(
        "Counts are corrected for biomass water equivalent by a linear loss of counts.",
        ("Morris2024",),
    ),
    "depth": Form(
        "The measurement depth D86 follows from water content and bulk density.",
        ("Schroen2017", "Koehli2015"),
    ),
    "network": Form(
        "Water contents of layers are estimated by a recurrent neural network from 24 h features"
        " of the corrected counts.",
        (),
    ),
    "network=lstm": Form("The network is an LSTM.", ("Hochreiter1997",)),
    "network=gru": Form("The network is a GRU.", ("Cho2014",)),
    "filter": Form("The inversion is also smoothed by an exponential filter.", ("Albergel2008",)),
    "et0": Form(
        "Where no reference evapotranspiration is measured it is computed from temperature.",
        ("Hargreaves1985", "Allen1998"),
    ),
    "site.soil.known=measured": Form(
        "Soil hydraulic parameters are measured, in the form of van Genuchten.",
        ("vanGenuchten1980",),
    ),
    "site.soil.known=texture": Form(
        "Soil hydraulic parameters, in the form of van Genuchten, are derived from texture.",
        ("vanGenuchten1980",),
    ),
    "water.capacity": Form(
        "Field capacity and wilting point follow from the soil hydraulic parameters.",
        ("Twarakavi2009", "vanGenuchten1980"),
    ),
    "water.depletion": Form(
        "Plant-available water and its depletion follow FAO-56.", ("Allen1998",)
    ),
    "site.water.crop": Form(
        "The threshold of irrigation is that of the crop in FAO-56, table 22.", ("Allen1998",)
    ),
    "site.water.texture": Form(
        "The soil is the mean of its texture class.", ("Carsel1988", "vanGenuchten1980")
    ),
    "root_zone.threshold": Form(
        "The threshold of the root zone follows crop evapotranspiration by FAO-56.",
        ("Allen1998",),
    ),
    "water.days": Form(
        "The recent loss of water is the median of the slopes between all pairs of days.",
        ("Sen1968",),
    ),
    "quality": Form("Quality flags are summarized by the flags of QARTOD.", ("IOOS2020",)),
    "layout=cosmos_europe": Form(
        "The columns of the table are those of the data set COSMOS-Europe.", ("Bogena2022",)
    ),
}
"""Forms by name; a key of the configuration with choices is `table.key=choice`."""
