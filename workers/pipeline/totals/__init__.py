"""What Stripe's totals say beside the sender's own: a second opinion on records, and what no event told.

Stripe tells what a meter has counted of one customer and UTC day (Stripe docs, "List billing meter event
summaries"). `stripe_totals` asks for it, `sender_totals` computes what it must be by the sender's own rows,
`our_usage` adds what we have sent and takes away what Stripe is known to have refused. `witness` judges records by
the three; `claimed` reads these as the repaired ones would count. `growth` compares them before and after
usage is sent.
"""
