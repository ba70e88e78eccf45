"""
@article{strelak2020flexalign,
  title = {{FlexAlign}: An Accurate and Fast Algorithm for Movie Alignment in Cryo-Electron Microscopy},
  author = {St{\\v{r}}el{\\'a}k, David and Filipovi{\\v{c}}, Ji{\\v{r}}{\\'i} and Jim{\\'e}nez-Moreno, Amaya and Carazo, Jose Mar{\\'i}a and Sorzano, Carlos {\\'O}scar S{\\'a}nchez},
  journal = {Electronics},
  volume = {9},
  number = {6},
  pages = {1040},
  year = {2020},
  doi = {10.3390/electronics9061040},
}

@article{Strelak2023performance,
  title = {Performance and Quality Comparison of Movie Alignment Software for Cryogenic Electron Microscopy},
  author = {Strelak, David and March{\\'a}n, Daniel and Carazo, Jos{\\'e} Mar{\\'i}a and Sorzano, Carlos O. S.},
  journal = {Micromachines},
  volume = {14},
  number = {10},
  pages = {1835},
  year = {2023},
  doi = {10.3390/mi14101835},
}
"""
