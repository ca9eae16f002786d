"""Report the accuracy of a released bundle on simulated soils and at real sites.

In: a bundle, a campaign or site files. Out: a folder with one HTML page, its figures as PNG, and
every number as JSON.
Open `simulated` first for soils of a campaign, `field` for real sites; their dataclasses are in
`simulated_result` and `field_result`.
"""
