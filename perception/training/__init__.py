"""What lightning's Trainer needs to train the models of the catalogue; the loop itself is lightning's."""
