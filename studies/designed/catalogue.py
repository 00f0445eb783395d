"""All designed studies by name, in the order in which the full profile runs them."""

from studies.designed import batch_size, data_size, depth, heads, ladder, lr, scale, variants

DESIGNS = {
    module.DESIGN.name: module.DESIGN
    for module in (ladder, depth, scale, data_size, batch_size, lr, variants, heads)
}
