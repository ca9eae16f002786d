"""Map each form of a correction or method to its reference, in one place.

The methods text, the NetCDF attribute `references` and docs/equations.md name the same papers.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Reference:
    """One published source, as BibTeX needs it."""

    key: str
    kind: str  # BibTeX entry type
    author: str  # names joined by " and "
    year: int
    title: str
    where: str  # journal, publisher or institution
    detail: str = ""  # volume and pages: "16, 4079-4099"
    doi: str = ""

    def bibtex(self) -> str:
        """Format the reference as a BibTeX entry."""
        place = {"article": "journal", "techreport": "institution"}.get(self.kind, "publisher")
        volume, _, pages = self.detail.partition(", ")
        values = {
            "author": self.author,
            "title": f"{{{self.title}}}",
            "year": str(self.year),
            place: self.where,
            "volume": volume,
            "pages": pages.replace("-", "--"),
            "doi": self.doi,
        }
        lines = [f"  {name} = {{{value}}}," for name, value in values.items() if value]
        return "\n".join([f"@{self.kind}{{{self.key},", *lines, "}"])

    def short(self) -> str:
        """Format the reference as author and year: Hawdon et al. (2014)."""
        names = [name.partition(",")[0].strip("{}") for name in self.author.split(" and ")]
        if len(names) > 2:
            return f"{names[0]} et al. ({self.year})"
        return f"{' and '.join(names)} ({self.year})"

    def line(self) -> str:
        """Format the reference as one line: authors, year, where, DOI."""
        detail = f" {self.detail}" if self.detail else ""
        doi = f", doi:{self.doi}" if self.doi else ""
        return f"{self.short()}: {self.title}. {self.where}{detail}{doi}"


_ENTRIES = (
    Reference(
        "Albergel2008",
        "article",
        "Albergel, C. and Ruediger, C. and Pellarin, T. and others",
        2008,
        "From near-surface to root-zone soil moisture using an exponential filter: an assessment of"
        " the method based on in-situ observations and model simulations",
        "Hydrology and Earth System Sciences",
        "12, 1323-1337",
        "10.5194/hess-12-1323-2008",
    ),
    Reference(
        "Allen1998",
        "techreport",
        "Allen, R. G. and Pereira, L. S. and Raes, D. and Smith, M.",
        1998,
        "Crop evapotranspiration: guidelines for computing crop water requirements",
        "FAO Irrigation and Drainage Paper 56, Rome",
    ),
    Reference(
        "Baatz2015",
        "article",
        "Baatz, R. and Bogena, H. R. and Hendricks Franssen, H.-J. and Huisman, J. A. and"
        " Montzka, C. and Vereecken, H.",
        2015,
        "An empirical vegetation correction for soil water content quantification using cosmic ray"
        " probes",
        "Water Resources Research",
        "51, 2030-2046",
        "10.1002/2014WR016443",
    ),
    Reference(
        "Bogena2022",
        "article",
        "Bogena, H. R. and Schroen, M. and Jakobi, J. and Ney, P. and Zacharias, S. and others",
        2022,
        "COSMOS-Europe: a European network of cosmic-ray neutron soil moisture sensors",
        "Earth System Science Data",
        "14, 1125-1151",
        "10.5194/essd-14-1125-2022",
    ),
    Reference(
        "Bernero2013",
        "techreport",
        "Bernero, G. and Olitsky, J. and Schumacher, R. A.",
        2013,
        "Atmospheric dependence of the stopping cosmic ray muon rate at ground level",
        "arXiv:1304.4945",
    ),
    Reference(
        "Carsel1988",
        "article",
        "Carsel, R. F. and Parrish, R. S.",
        1988,
        "Developing joint probability distributions of soil water retention characteristics",
        "Water Resources Research",
        "24(5), 755-769",
        "10.1029/WR024i005p00755",
    ),
    Reference(
        "Cho2014",
        "inproceedings",
        "Cho, K. and van Merrienboer, B. and Gulcehre, C. and others",
        2014,
        "Learning phrase representations using RNN encoder-decoder for statistical machine"
        " translation",
        "Proceedings of EMNLP 2014, Association for Computational Linguistics",
        "",
        "10.3115/v1/D14-1179",
    ),
    Reference(
        "Desilets2003",
        "article",
        "Desilets, D. and Zreda, M.",
        2003,
        "Spatial and temporal distribution of secondary cosmic-ray nucleon intensities and"
        " applications to in situ cosmogenic dating",
        "Earth and Planetary Science Letters",
        "206, 21-42",
        "10.1016/S0012-821X(02)01088-9",
    ),
    Reference(
        "Desilets2010",
        "article",
        "Desilets, D. and Zreda, M. and Ferre, T. P. A.",
        2010,
        "Nature's neutron probe: land surface hydrology at an elusive scale with cosmic rays",
        "Water Resources Research",
        "46, W11505",
        "10.1029/2009WR008726",
    ),
    Reference(
        "Desilets2021",
        "techreport",
        "Desilets, D.",
        2021,
        "Intensity correction factors for a cosmic ray neutron sensor",
        "Hydroinnova Technical Document 21-01",
        "",
        "10.5281/zenodo.4569062",
    ),
    Reference(
        "TiradoBueno2021",
        "article",
        "Tirado-Bueno, E. and Mendoza-Torres, J. E. and de Mendonca, R. R. S.",
        2021,
        "Barometric coefficient dependence on the geomagnetic cutoff rigidity of neutron monitors",
        "Advances in Space Research",
        "68, 2631-2642",
        "10.1016/j.asr.2021.04.034",
    ),
    Reference(
        "Gianessi2024",
        "article",
        "Gianessi, S. and Polo, M. and Stevanato, L. and Lunardon, M. and Francke, T. and"
        " Oswald, S. E. and others",
        2024,
        "Testing a novel sensor design to jointly measure cosmic-ray neutrons, muons and gamma"
        " rays for non-invasive soil moisture estimation",
        "Geoscientific Instrumentation, Methods and Data Systems",
        "13, 9-25",
        "10.5194/gi-13-9-2024",
    ),
    Reference(
        "Hargreaves1985",
        "article",
        "Hargreaves, G. H. and Samani, Z. A.",
        1985,
        "Reference crop evapotranspiration from temperature",
        "Applied Engineering in Agriculture",
        "1, 96-99",
    ),
    Reference(
        "Hawdon2014",
        "article",
        "Hawdon, A. and McJannet, D. and Wallace, J.",
        2014,
        "Calibration and correction procedures for cosmic-ray neutron soil moisture probes located"
        " across Australia",
        "Water Resources Research",
        "50, 5029-5043",
        "10.1002/2013WR015138",
    ),
    Reference(
        "Hochreiter1997",
        "article",
        "Hochreiter, S. and Schmidhuber, J.",
        1997,
        "Long short-term memory",
        "Neural Computation",
        "9, 1735-1780",
        "10.1162/neco.1997.9.8.1735",
    ),
    Reference(
        "IOOS2020",
        "techreport",
        "{U.S. Integrated Ocean Observing System}",
        2020,
        "QARTOD: manual for real-time oceanographic data quality control flags",
        "IOOS",
    ),
    Reference(
        "Koehli2015",
        "article",
        "Koehli, M. and Schroen, M. and Zreda, M. and Schmidt, U. and Dietrich, P. and"
        " Zacharias, S.",
        2015,
        "Footprint characteristics revised for field-scale soil moisture monitoring with cosmic-ray"
        " neutrons",
        "Water Resources Research",
        "51, 5772-5790",
        "10.1002/2015WR017169",
    ),
    Reference(
        "Koehli2021",
        "article",
        "Koehli, M. and Weimar, J. and Schroen, M. and Baatz, R. and Schmidt, U.",
        2021,
        "Soil moisture and air humidity dependence of the above-ground cosmic-ray neutron"
        " intensity",
        "Frontiers in Water",
        "2, 544847",
        "10.3389/frwa.2020.544847",
    ),
    Reference(
        "Koehli2026",
        "article",
        "Koehli, M.",
        2026,
        "Article 117626 (inverse universal transport solution)",
        "Geoderma",
        "465, 117626",
        "10.1016/j.geoderma.2025.117626",
    ),
    Reference(
        "McJannet2023",
        "article",
        "McJannet, D. L. and Desilets, D.",
        2023,
        "Incoming neutron flux corrections for cosmic-ray soil and snow sensors using the global"
        " neutron monitor network",
        "Water Resources Research",
        "59, e2022WR033889",
        "10.1029/2022WR033889",
    ),
    Reference(
        "Morris2024",
        "article",
        "Morris, T. C. and Franz, T. E. and others",
        2024,
        "Effect of biomass water dynamics in cosmic-ray neutron sensor observations: a long-term"
        " analysis of maize-soybean rotation in Nebraska",
        "Sensors",
        "24, 4094",
        "10.3390/s24134094",
    ),
    Reference(
        "Riadigos2020",
        "article",
        "Riadigos, I. and Garcia-Castro, D. and Gonzalez-Diaz, D. and Perez-Munuzuri, V.",
        2020,
        "Atmospheric temperature effect in secondary cosmic rays observed with a two square meter"
        " ground-based tRPC detector",
        "Earth and Space Science",
        "7, e2020EA001131",
        "10.1029/2020EA001131",
    ),
    Reference(
        "Rosolem2013",
        "article",
        "Rosolem, R. and Shuttleworth, W. J. and Zreda, M. and Franz, T. E. and Zeng, X. and"
        " Kurc, S. A.",
        2013,
        "The effect of atmospheric water vapor on neutron count in the Cosmic-ray Soil Moisture"
        " Observing System",
        "Journal of Hydrometeorology",
        "14, 1659-1671",
        "10.1175/JHM-D-12-0120.1",
    ),
    Reference(
        "Schroen2017",
        "article",
        "Schroen, M. and Koehli, M. and Scheiffele, L. and Iwema, J. and Bogena, H. R. and others",
        2017,
        "Improving calibration and validation of cosmic-ray neutron sensors in the light of spatial"
        " sensitivity",
        "Hydrology and Earth System Sciences",
        "21, 5009-5030",
        "10.5194/hess-21-5009-2017",
    ),
    Reference(
        "Sen1968",
        "article",
        "Sen, P. K.",
        1968,
        "Estimates of the regression coefficient based on Kendall's tau",
        "Journal of the American Statistical Association",
        "63, 1379-1389",
    ),
    Reference(
        "Shuttleworth2013",
        "article",
        "Shuttleworth, J. and Rosolem, R. and Zreda, M. and Franz, T.",
        2013,
        "The COsmic-ray Soil Moisture Interaction Code (COSMIC) for use in data assimilation",
        "Hydrology and Earth System Sciences",
        "17, 3205-3217",
        "10.5194/hess-17-3205-2013",
    ),
    Reference(
        "Stevanato2022",
        "article",
        "Stevanato, L. and Baroni, G. and Oswald, S. E. and Lunardon, M. and others",
        2022,
        "An alternative incoming correction for cosmic-ray neutron sensing observations using local"
        " muon measurement",
        "Geophysical Research Letters",
        "49, e2021GL095383",
        "10.1029/2021GL095383",
    ),
    Reference(
        "Twarakavi2009",
        "article",
        "Twarakavi, N. K. C. and Sakai, M. and Simunek, J.",
        2009,
        "An objective analysis of the dynamic nature of field capacity",
        "Water Resources Research",
        "45, W10410",
        "10.1029/2009WR007944",
    ),
    Reference(
        "vanGenuchten1980",
        "article",
        "{van Genuchten}, M. T.",
        1980,
        "A closed-form equation for predicting the hydraulic conductivity of unsaturated soils",
        "Soil Science Society of America Journal",
        "44, 892-898",
        "10.2136/sssaj1980.03615995004400050002x",
    ),
    Reference(
        "WMO2018",
        "book",
        "{World Meteorological Organization}",
        2018,
        "Guide to instruments and methods of observation, volume I",
        "WMO-No. 8, Geneva",
    ),
    Reference(
        "Zreda2012",
        "article",
        "Zreda, M. and Shuttleworth, W. J. and Zeng, X. and Zweck, C. and Desilets, D. and"
        " Franz, T. and Rosolem, R.",
        2012,
        "COSMOS: the COsmic-ray Soil Moisture Observing System",
        "Hydrology and Earth System Sciences",
        "16, 4079-4099",
        "10.5194/hess-16-4079-2012",
    ),
)
REFERENCES = {entry.key: entry for entry in _ENTRIES}
